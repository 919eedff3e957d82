//! The heads of all stores are confirmed and kept.

use std::collections::BTreeMap;

use borealis_bus_schema::codec;
use borealis_bus_schema::forms::Form;
use borealis_bus_schema::subjects::Service;
use borealis_signing::aggregate::Event;
use borealis_signing::stored;
use borealis_test_support::eventually;

use crate::fleet::Fleet;

#[tokio::test]
async fn every_followed_head_is_countersigned_by_the_services_own_key() {
    let fleet = Fleet::start().await;
    fleet.device("default").await;
    let confirmed = eventually("countersigned heads", async || {
        let mut heads = BTreeMap::new();
        for record in fleet.signing.log.read_all(0, 100).unwrap() {
            let event = stored::decode(&record.kind, &record.body.unwrap()).unwrap();
            if let Event::HeadCountersigned { head, signature, .. } = event {
                heads.insert(head.service, (head, signature));
            }
        }
        (heads.contains_key(&Service::Access) && heads.contains_key(&Service::Enrollment)).then_some(heads)
    })
    .await
    .unwrap();
    let key = fleet.world.bus.trust().service_key(Service::Signing).copied().unwrap();
    for (head, signature) in confirmed.values() {
        let bytes = codec::encode(head).unwrap();
        key.verify(Form::Countersign, &[&bytes], signature).unwrap();
    }
    assert_eq!(confirmed[&Service::Enrollment].0.position, 1);
    fleet.stop().await;
}
