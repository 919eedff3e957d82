//! Views: batches with their position, rebuilding, refusals.

use borealis_event_store::{
    EventLog, EventRecord, MAX_VIEW_ROW_BYTES, SledLog, SledView, StoreError, View, ViewBatch, ViewError,
};

use crate::support::{Place, block_on, one, stream};

/// Counts the events of each stream and keeps their order.
struct Counts;

impl View for Counts {
    const NAME: &'static str = "counts";

    fn apply(&self, batch: &mut ViewBatch<'_>, event: &EventRecord) -> Result<(), ViewError> {
        let key = [b"count/", event.stream.as_str().as_bytes()].concat();
        let count = batch
            .get(&key)?
            .map_or(0, |value| u64::from_be_bytes(value.try_into().unwrap_or_default()));
        batch.put(&key, (count + 1).to_be_bytes().to_vec())?;
        batch.put(
            &[b"at/", &event.position.to_be_bytes()[..]].concat(),
            event.stream.to_string().into_bytes(),
        )?;
        if count % 3 == 2 {
            // The oldest row still standing goes.
            if let Some((oldest, _)) = batch.scan(b"at/")?.into_iter().next() {
                batch.remove(&oldest);
            }
        }
        match event.body.as_deref() {
            Some(b"refuse") => Err(ViewError::Rejected {
                reason: "it says so".to_owned(),
            }),
            Some(b"large") => batch.put(b"large", vec![0; MAX_VIEW_ROW_BYTES + 1]),
            _ => Ok(()),
        }
    }
}

/// The same name with other rows.
struct CountsAnew;

impl View for CountsAnew {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 2;

    fn apply(&self, batch: &mut ViewBatch<'_>, event: &EventRecord) -> Result<(), ViewError> {
        batch.put(b"last", event.position.to_be_bytes().to_vec())
    }
}

fn append(log: &SledLog, numbers: std::ops::Range<u64>) {
    block_on(async {
        for number in numbers {
            let name = format!("s-{}", number * number % 7);
            let version = log.stream_version(&stream(&name)).unwrap();
            log.append(one(number, &name, version, b"body")).await.unwrap();
        }
    });
}

fn export<V: View>(view: &SledView<V>) -> Vec<u8> {
    let mut bytes = Vec::new();
    view.export(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_view_is_the_same_however_it_was_made() {
    let place = Place::new();
    let log = place.open();
    let view = SledView::open(&log, Counts).unwrap();
    for step in 0..12 {
        append(&log, step * 5..step * 5 + 5);
        assert_eq!(view.catch_up().unwrap(), log.head().position);
    }
    let grown = export(&view);
    assert_eq!(view.rebuild().unwrap(), 60);
    assert!(export(&view) == grown, "rebuilding gives other bytes");
    drop((view, log));
    let log = place.open();
    let view = SledView::open(&log, Counts).unwrap();
    assert_eq!(view.position(), 60);
    assert!(export(&view) == grown, "reopening gives other bytes");
    let rows = view.scan(b"count/", None, 100).unwrap();
    assert_eq!(rows.iter().map(|(_, count)| u64::from(count[7])).sum::<u64>(), 60);
    let rest = view.scan(b"count/", Some(&rows[1].0), 1).unwrap();
    assert_eq!(rest, rows[2..3]);
    assert_eq!(view.get(&rows[0].0).unwrap().as_ref(), Some(&rows[0].1));
}

#[test]
fn a_view_whose_rebuild_was_cut_off_begins_anew() {
    let place = Place::new();
    let log = place.open();
    append(&log, 0..9);
    let view = SledView::open(&log, Counts).unwrap();
    view.catch_up().unwrap();
    let whole = export(&view);
    drop((view, log));
    {
        let db = sled::Config::new()
            .path(place.path())
            .segment_size(8 << 20)
            .open()
            .unwrap();
        db.open_tree("view-counts").unwrap().remove([0]).unwrap();
        db.flush().unwrap();
    }
    let log = place.open();
    let view = SledView::open(&log, Counts).unwrap();
    assert_eq!(view.position(), 0);
    assert_eq!(view.scan(b"", None, 9).unwrap(), []);
    view.catch_up().unwrap();
    assert!(export(&view) == whole);
}

#[test]
fn a_view_of_another_version_begins_anew() {
    let place = Place::new();
    let log = place.open();
    append(&log, 0..9);
    SledView::open(&log, Counts).unwrap().catch_up().unwrap();
    let view = SledView::open(&log, CountsAnew).unwrap();
    assert_eq!(view.position(), 0);
    view.catch_up().unwrap();
    assert_eq!(
        view.scan(b"", None, 99).unwrap(),
        [(b"last".to_vec(), 9u64.to_be_bytes().to_vec())]
    );
}

#[test]
fn a_refused_event_stops_the_view_before_it_and_not_the_log() {
    for body in [&b"refuse"[..], b"large"] {
        let place = Place::new();
        let log = place.open();
        append(&log, 0..9);
        block_on(log.append(one(100, "bad", 0, body))).unwrap();
        let view = SledView::open(&log, Counts).unwrap();
        let refused = view.catch_up().unwrap_err();
        let named = matches!(
            refused,
            StoreError::ViewRejected {
                view: "counts",
                position: 10,
                ..
            }
        ) || matches!(refused, StoreError::ViewRowTooLarge { view: "counts", .. });
        assert!(named, "{refused:?}");
        assert_eq!(view.position(), 9);
        let sum: u64 = view
            .scan(b"count/", None, 99)
            .unwrap()
            .iter()
            .map(|(_, count)| u64::from(count[7]))
            .sum();
        assert_eq!(sum, 9);
        append(&log, 200..201);
    }
}
