//! Which crate may depend on which.

use crate::{demand_none, files};
use serde_json::Value;
use std::process::Command;

const KIT: [&str; 4] = ["service-kit", "bus-schema", "event-store", "logging"];
const SERVICES: [&str; 7] = [
    "access",
    "enrollment",
    "signing",
    "scheduler",
    "inventory",
    "library",
    "gateway",
];
/// What has no place in a crate without input and output.
const IO_CRATES: [&str; 8] = [
    "tokio",
    "async-nats",
    "sled",
    "reqwest",
    "axum",
    "hyper",
    "rustls",
    "rustix",
];

/// A dependency of one crate of the workspace on another crate.
#[derive(Clone, Debug)]
struct Edge {
    from: String,
    to: String,
}

/// Returns the crates of this workspace on which a crate may depend, or `None` for a crate that has no place yet.
fn allowed(name: &str) -> Option<Vec<&'static str>> {
    let allowed = match name {
        "bus-schema" | "fail-points" | "logging" => vec![],
        "calendar" | "cli" => vec!["bus-schema"],
        "event-store" => vec!["bus-schema", "fail-points"],
        "service-kit" => vec!["bus-schema", "event-store", "fail-points", "logging"],
        "provision" => vec!["service-kit", "bus-schema"],
        "test-support" => [&KIT[..], &["provision", "fail-points"]].concat(),
        "access" | "enrollment" | "inventory" | "library" => KIT.to_vec(),
        "scheduler" => [&KIT[..], &["calendar", "fail-points"]].concat(),
        "signing" => [&KIT[..], &["calendar"]].concat(),
        // The gateway translates; it has no store.
        "gateway" => vec!["service-kit", "bus-schema", "logging"],
        "server" => [&KIT[..], &SERVICES[..], &["provision", "fail-points"]].concat(),
        "agent" => vec!["bus-schema", "fail-points", "logging"],
        _ => return None,
    };
    Some(allowed)
}

/// Names each dependency that points the wrong way.
fn misdirected(names: &[String], edges: &[Edge]) -> Vec<String> {
    let mut offences = Vec::new();
    for name in names {
        let Some(allowed) = allowed(name) else {
            offences.push(format!("{name} has no place in the table of dependencies"));
            continue;
        };
        for Edge { from, to } in edges {
            if from == name && names.contains(to) && !allowed.contains(&to.as_str()) {
                offences.push(format!("{from} must not depend on {to}"));
            }
        }
    }
    offences
}

/// Names each dependency that only one crate, or none, may have.
fn misplaced(edges: &[Edge]) -> Vec<String> {
    let is_bad = |edge: &&Edge| {
        let (from, to) = (edge.from.as_str(), edge.to.as_str());
        (["bus-schema", "calendar"].contains(&from) && IO_CRATES.contains(&to))
            || (to == "serde_cbor" && from != "bus-schema")
            || (to == "sled" && from != "event-store")
            || (to == "async-nats" && !["service-kit", "agent", "test-support"].contains(&from))
    };
    edges
        .iter()
        .filter(is_bad)
        .map(|edge| format!("{} must not depend on {}", edge.from, edge.to))
        .collect()
}

/// Returns the short names of the workspace's crates and their dependencies, without those for tests.
fn workspace() -> (Vec<String>, Vec<Edge>) {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(files::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut names = Vec::new();
    let mut edges = Vec::new();
    for package in metadata.get("packages").and_then(Value::as_array).unwrap() {
        let from = short(package["name"].as_str().unwrap());
        for dependency in package["dependencies"].as_array().unwrap() {
            if dependency["kind"] != "dev" {
                let to = short(dependency["name"].as_str().unwrap());
                edges.push(Edge { from: from.clone(), to });
            }
        }
        names.push(from);
    }
    (names, edges)
}

/// Turns a package's name into that of its folder.
fn short(name: &str) -> String {
    match name {
        "borealis" => "cli".to_owned(),
        name => name.strip_prefix("borealis-").unwrap_or(name).to_owned(),
    }
}

/// Names each manifest that does not take the lints of the workspace.
fn unlinted(path: &str, manifest: &str) -> Option<String> {
    let is_package = manifest.contains("[package]");
    let is_linted = manifest.contains("[lints]\nworkspace = true");
    (is_package && !is_linted).then(|| format!("{path} does not take the workspace's lints"))
}

#[test]
fn dependencies_point_one_way() {
    let (names, edges) = workspace();
    demand_none("dependencies", misdirected(&names, &edges));
    demand_none("dependencies", misplaced(&edges));
}

#[test]
fn every_crate_takes_the_lints() {
    let manifests = files::texts()
        .into_iter()
        .filter(|file| file.path.ends_with("Cargo.toml"));
    demand_none("lints", manifests.filter_map(|file| unlinted(&file.path, &file.text)));
}

#[cfg(test)]
mod samples {
    use super::*;

    fn edge(from: &str, to: &str) -> Edge {
        Edge {
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    fn check(edges: &[Edge]) -> Vec<String> {
        let mut names: Vec<String> = edges.iter().map(|edge| edge.from.clone()).collect();
        names.extend(edges.iter().map(|edge| edge.to.clone()));
        names.dedup();
        misdirected(&names, edges)
    }

    #[test]
    fn a_service_on_a_service_is_refused() {
        assert_eq!(
            check(&[edge("access", "signing")]),
            ["access must not depend on signing"]
        );
    }

    #[test]
    fn what_lies_below_on_what_lies_above_is_refused() {
        for (from, to) in [
            ("bus-schema", "logging"),
            ("event-store", "service-kit"),
            ("calendar", "service-kit"),
            ("service-kit", "access"),
            ("agent", "service-kit"),
            ("cli", "service-kit"),
            ("gateway", "event-store"),
            ("signing", "test-support"),
        ] {
            assert!(!check(&[edge(from, to)]).is_empty(), "{from} on {to}");
        }
    }

    #[test]
    fn the_map_passes() {
        let edges = [
            edge("access", "service-kit"),
            edge("server", "access"),
            edge("agent", "logging"),
        ];
        assert!(check(&edges).is_empty());
    }

    #[test]
    fn a_crate_without_a_place_is_refused() {
        assert_eq!(
            misdirected(&["helpers".to_owned()], &[]),
            ["helpers has no place in the table of dependencies"]
        );
    }

    #[test]
    fn a_crate_of_one_owner_is_refused_elsewhere() {
        for (from, to) in [
            ("bus-schema", "tokio"),
            ("access", "serde_cbor"),
            ("scheduler", "sled"),
            ("enrollment", "async-nats"),
        ] {
            assert_eq!(misplaced(&[edge(from, to)]).len(), 1, "{from} on {to}");
        }
        assert!(misplaced(&[edge("service-kit", "async-nats")]).is_empty());
    }

    #[test]
    fn a_manifest_without_lints_is_refused() {
        assert!(unlinted("x/Cargo.toml", "[package]\nname = \"x\"\n").is_some());
        assert!(unlinted("x/Cargo.toml", "[package]\n[lints]\nworkspace = true\n").is_none());
        assert!(unlinted("Cargo.toml", "[workspace]\n").is_none());
    }
}
