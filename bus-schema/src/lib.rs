//! The words that every part of Borealis speaks: subjects, messages, ids, error codes and the exact bytes that are signed.
//!
//! Nothing here does I/O, reads a clock or draws random numbers. Whoever needs an id, a time or a key passes it in. Two
//! programs that link this crate agree on every byte between them; the golden files under `tests/golden/` pin those bytes.
//!
//! Reading order: [`ids`] and [`time`] are the values, [`codes`] and [`causes`] the errors, [`codec`] the bytes, [`subjects`] and
//! [`permissions`] the bus, [`envelope`] and [`reply`] one request, [`forms`] what is signed, [`seeds`] what is proved without being sent, [`order`] what a device
//! executes, [`routes`] what an operator may ask, [`audit`] what is kept of it, [`messages`] what services and devices say to each other.

pub mod ids;
pub mod time;

pub mod codes;
pub mod reply;

pub mod causes;

pub mod codec;

pub mod subjects;

pub mod permissions;

pub mod envelope;

pub mod forms;

pub mod words;

pub mod merkle;

pub mod order;

pub mod seeds;

pub mod installer_code;

pub mod assembly;

pub mod operator;

pub mod filter;

pub mod factor;

pub mod passkey;

pub mod routes;

pub mod narrowing;

pub mod audit;

pub mod messages;
