//! Renewal: rotation, repetition, theft.

use borealis_bus_schema::codes::Code;
use borealis_bus_schema::messages::enrollment::{Identity, Renew};
use serde_json::Value;

use crate::rig::{Machine, Rig, now};

async fn refusal(rig: &Rig, machine: &Machine, identity: &Identity, token: Option<&str>) -> Code {
    machine.renew(rig, identity, token).await.map(|_| ()).unwrap_err().code
}

#[tokio::test]
async fn a_refresh_token_rotates_and_an_old_one_ends_the_family() {
    let rig = Rig::start().await;
    let machine = Machine::draw("web-1");
    let identity = rig.enrol(&machine).await;
    let first = identity.credentials.refresh_token.clone();
    let second = machine
        .renew(&rig, &identity, Some(&first))
        .await
        .unwrap()
        .credentials
        .refresh_token;
    assert_ne!(first, second);
    rig.wait_for("EnrollmentCompleted", 1).await;

    let rig = rig.restart().await;
    let again = machine
        .renew(&rig, &identity, Some(&first))
        .await
        .unwrap()
        .credentials
        .refresh_token;
    assert_eq!(again, second, "the same reuse gets the same successor");
    let third = machine
        .renew(&rig, &identity, Some(&second))
        .await
        .unwrap()
        .credentials
        .refresh_token;
    assert_eq!(rig.count("CredentialsRenewed"), 2);

    assert_eq!(
        refusal(&rig, &machine, &identity, Some(&first)).await,
        Code::RefreshInvalid
    );
    assert_eq!(rig.count("RefreshFamilyRevoked"), 1);
    let rig = rig.restart().await;
    assert_eq!(
        refusal(&rig, &machine, &identity, Some(&third)).await,
        Code::RefreshInvalid
    );

    let anew = rig.enrol(&machine).await;
    assert_eq!(anew.guid, identity.guid);
    machine
        .renew(&rig, &anew, Some(&anew.credentials.refresh_token))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_renewal_is_only_for_the_device_that_signed_it() {
    let rig = Rig::start().await;
    let (machine, thief) = (Machine::draw("web-1"), Machine::draw("web-2"));
    let (identity, other) = (rig.enrol(&machine).await, rig.enrol(&thief).await);
    let before = rig.service.events().unwrap();
    let token = Some(identity.credentials.refresh_token.as_str());
    assert_eq!(refusal(&rig, &thief, &identity, token).await, Code::ProofInvalid);
    assert_eq!(refusal(&rig, &thief, &other, token).await, Code::RefreshInvalid);
    assert_eq!(refusal(&rig, &machine, &identity, None).await, Code::RefreshInvalid);
    assert_eq!(
        refusal(&rig, &machine, &identity, Some("rubbish")).await,
        Code::RefreshInvalid
    );

    let send = async |renewal: Renew| {
        let body = serde_json::to_value(renewal).unwrap();
        rig.public::<Value>("device-renew", &body, "192.0.2.9:1")
            .await
            .unwrap_err()
            .code
    };
    let late = machine.renewal(&identity, token, now().plus_ms(-400_000));
    assert_eq!(send(late).await, Code::ClockSkew);
    let mut altered = machine.renewal(&identity, token, now());
    altered.issued_at = altered.issued_at.plus_ms(1);
    assert_eq!(send(altered).await, Code::ProofInvalid);
    let mut unknown = machine.renewal(&identity, token, now());
    unknown.guid = borealis_service_kit::random::id();
    assert_eq!(send(unknown).await, Code::ProofInvalid);
    assert_eq!(rig.service.events().unwrap(), before, "nothing was written");
    machine.renew(&rig, &identity, token).await.unwrap();
}
