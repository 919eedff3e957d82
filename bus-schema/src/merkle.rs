//! A Merkle tree over a batch of orders: one signature for up to 1,024 of them.
//!
//! A leaf is `SHA-256(0x00 ‖ bytes)`, a node `SHA-256(0x01 ‖ left ‖ right)`; a node without a right neighbour moves up as it
//! is. The tree's size is signed with the root, so that a path fits one shape of tree only.
//!
//! Source: RFC 9162, section 2.1, whose hashing of leaves and nodes is kept.

use sha2::{Digest, Sha256};

/// Is the largest number of leaves under one signature.
pub const MAX_LEAVES: usize = 1_024;

/// Holds a hash of the tree.
pub type Hash = [u8; 32];

/// Hashes a leaf.
pub fn leaf(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0u8]).chain_update(bytes).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1u8])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// Holds every level of a tree, leaves first.
#[derive(Debug, Clone)]
pub struct Tree {
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Builds the tree over leaves that are hashed already; `None` when there are none or more than [`MAX_LEAVES`].
    pub fn new(leaves: Vec<Hash>) -> Option<Self> {
        if leaves.is_empty() || leaves.len() > MAX_LEAVES {
            return None;
        }
        let mut levels = vec![leaves];
        while let Some(last) = levels.last().filter(|level| level.len() > 1) {
            let above = last
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => node(left, right),
                    [only] => *only,
                    _ => [0; 32],
                })
                .collect();
            levels.push(above);
        }
        Some(Self { levels })
    }

    /// Returns the root.
    pub fn root(&self) -> Hash {
        self.levels
            .last()
            .and_then(|top| top.first())
            .copied()
            .unwrap_or_default()
    }

    /// Returns how many leaves there are.
    pub fn size(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    /// Returns the path of a leaf: the neighbours on its way up, without the levels where it has none.
    pub fn path(&self, index: usize) -> Vec<Hash> {
        let below_root = self.levels.len().saturating_sub(1);
        let levels = self.levels.iter().take(below_root).enumerate();
        levels
            .filter_map(|(height, level)| level.get((index >> height) ^ 1).copied())
            .collect()
    }
}

/// Computes the root that a leaf and its path lead to; `None` when index, size and path do not belong together.
pub fn root_of(leaf: Hash, index: usize, size: usize, path: &[Hash]) -> Option<Hash> {
    if index >= size || size > MAX_LEAVES {
        return None;
    }
    let (mut hash, mut at, mut width) = (leaf, index, size);
    let mut rest = path.iter();
    while width > 1 {
        if at ^ 1 < width {
            let neighbour = rest.next()?;
            hash = if at & 1 == 0 {
                node(&hash, neighbour)
            } else {
                node(neighbour, &hash)
            };
        }
        at >>= 1;
        width = width.div_ceil(2);
    }
    if rest.next().is_some() { None } else { Some(hash) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_of_every_size_leads_to_the_root() {
        for size in (1..=70).chain([1_023, 1_024]) {
            let leaves: Vec<Hash> = (0..size).map(|i| leaf(&[i as u8, (i >> 8) as u8])).collect();
            let tree = Tree::new(leaves.clone()).unwrap();
            for (index, leaf) in leaves.iter().enumerate() {
                let path = tree.path(index);
                assert_eq!(
                    root_of(*leaf, index, size, &path),
                    Some(tree.root()),
                    "{index} of {size}"
                );
                assert_ne!(root_of([9; 32], index, size, &path), Some(tree.root()));
            }
        }
    }

    #[test]
    fn a_path_fits_no_other_place_or_size() {
        let leaves: Vec<Hash> = (0..5u8).map(|i| leaf(&[i])).collect();
        let tree = Tree::new(leaves.clone()).unwrap();
        let path = tree.path(2);
        assert_ne!(root_of(leaves[2], 3, 5, &path), Some(tree.root()));
        assert_eq!(root_of(leaves[2], 2, 3, &path), None);
        assert_eq!(root_of(leaves[2], 5, 5, &path), None);
    }

    #[test]
    fn an_inner_node_is_no_leaf() {
        let (a, b) = (leaf(b"a"), leaf(b"b"));
        assert_ne!(leaf(&[&a[..], &b[..]].concat()), Tree::new(vec![a, b]).unwrap().root());
    }

    #[test]
    fn empty_and_oversized_trees_are_refused() {
        assert!(Tree::new(vec![]).is_none());
        assert!(Tree::new(vec![[0; 32]; MAX_LEAVES + 1]).is_none());
    }
}
