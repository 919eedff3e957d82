//! The bus's own keys: operator, accounts, and a user for each service.

use borealis_bus_schema::{subjects::Service, time::Timestamp};
use borealis_service_kit::{
    nats_jwt::{self, AccountClaims, JwtError, UserClaims},
    trust::Account,
};
use nkeys::KeyPair;

use crate::recovery::Roots;

/// Names the account in which services and devices meet.
pub const ACCOUNT: &str = "BOREALIS";

/// Holds every key of the bus, just made.
pub struct BusKeys {
    /// Signs the operator's JWT; to be sealed.
    pub operator_root: KeyPair,
    /// Signs accounts; enrollment's.
    pub operator_signing: KeyPair,
    /// Owns the account; to be sealed.
    pub account_root: KeyPair,
    /// Signs the account's users; enrollment's.
    pub account_signing: KeyPair,
    /// Owns the system account; to be sealed.
    pub system_root: KeyPair,
    /// Signs the system account's users; to be sealed.
    pub system_signing: KeyPair,
    /// The one user of the system account; enrollment's.
    pub system_user: KeyPair,
}

/// Holds what the bus is told of its keys.
pub struct BusTrust {
    /// The operator's JWT.
    pub operator_jwt: String,
    /// The account of services and devices.
    pub account: Account,
    /// The system account.
    pub system_account: Account,
    /// The JWT of the system account's user.
    pub system_user_jwt: String,
}

impl BusKeys {
    /// Draws all keys.
    pub fn draw() -> Self {
        Self {
            operator_root: KeyPair::new_operator(),
            operator_signing: KeyPair::new_operator(),
            account_root: KeyPair::new_account(),
            account_signing: KeyPair::new_account(),
            system_root: KeyPair::new_account(),
            system_signing: KeyPair::new_account(),
            system_user: KeyPair::new_user(),
        }
    }

    /// Takes the roots and draws everything below them anew.
    ///
    /// Errors: the bus's, for a seed that is none.
    pub fn below(roots: &Roots) -> Result<Self, nkeys::error::Error> {
        Ok(Self {
            operator_root: KeyPair::from_seed(&roots.operator_root)?,
            account_root: KeyPair::from_seed(&roots.account_root)?,
            system_root: KeyPair::from_seed(&roots.system_account_root)?,
            system_signing: KeyPair::from_seed(&roots.system_account_signing)?,
            ..Self::draw()
        })
    }

    /// Signs operator, accounts and the system account's user.
    ///
    /// Errors: [`JwtError::Key`].
    pub fn trust(&self, now: Timestamp) -> Result<BusTrust, JwtError> {
        let signing = [self.operator_signing.public_key()];
        let system = self.system_root.public_key();
        let account = |name: &str, root: &KeyPair, signing: &KeyPair| {
            let claims = AccountClaims {
                public_key: root.public_key(),
                name: name.to_owned(),
                signing_keys: vec![signing.public_key()],
                ..AccountClaims::default()
            };
            let jwt = nats_jwt::account(&self.operator_signing, &claims, now)?;
            Ok::<_, JwtError>(Account {
                public_key: claims.public_key,
                jwt,
            })
        };
        let user = UserClaims::system(&self.system_user.public_key(), &system);
        Ok(BusTrust {
            operator_jwt: nats_jwt::operator(&self.operator_root, "Borealis", &signing, &system, now)?,
            account: account(ACCOUNT, &self.account_root, &self.account_signing)?,
            system_account: account("SYS", &self.system_root, &self.system_signing)?,
            system_user_jwt: nats_jwt::user(&self.system_signing, &user, now)?,
        })
    }

    /// Draws a service's user key and signs its JWT, which does not end.
    ///
    /// Errors: [`JwtError::Key`].
    pub fn service_user(&self, service: Service, now: Timestamp) -> Result<(KeyPair, String), JwtError> {
        let key = KeyPair::new_user();
        let claims = UserClaims::service(service, &key.public_key(), &self.account_root.public_key());
        let jwt = nats_jwt::user(&self.account_signing, &claims, now)?;
        Ok((key, jwt))
    }
}
