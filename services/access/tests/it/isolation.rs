//! A confined process of this service opens no other service's keys.

use borealis_bus_schema::subjects::Service;
use borealis_service_kit::paths::Paths;

#[test]
fn no_other_services_key_can_be_opened() {
    borealis_test_support::isolated(Service::Access, Paths::biscuit_root_key).unwrap();
}
