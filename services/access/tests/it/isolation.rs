//! A confined process of this service opens no other service's keys.

use borealis_bus_schema::subjects::Service;
use borealis_service_kit::{confine, keys};
use borealis_test_support::TestBus;

#[test]
fn no_other_services_key_can_be_opened() {
    let bus = TestBus::provision().unwrap();
    let paths = bus.paths().clone();
    keys::private_folder(&paths.state(Service::Access)).unwrap();
    // Landlock holds for a thread and what it starts; this test's own cleans up afterwards.
    let confined = std::thread::spawn(move || {
        let isolation = confine::confine(&paths, Service::Access);
        let own = keys::read_signing_key(&paths.biscuit_root_key()).is_ok();
        (isolation, own, confine::probe_others(&paths, Service::Access))
    });
    let (isolation, own, others) = confined.join().unwrap();
    assert!(own, "its own key can be read");
    if isolation.landlock {
        assert!(others.is_empty(), "{others:?}");
    } else {
        assert!(
            !isolation.keys_isolated(),
            "a kernel without Landlock is reported as such"
        );
    }
}
