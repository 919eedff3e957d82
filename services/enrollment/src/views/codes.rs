//! Installer codes as operators see them.

use borealis_bus_schema::messages::enrollment::CodeView;
use borealis_bus_schema::time::Timestamp;

use crate::aggregate::code::Code;

/// Shows a code without its secret.
pub fn show(code: &Code, now: Timestamp) -> CodeView {
    let minted = &code.minted;
    CodeView {
        id: minted.id,
        masked: minted.masked.clone(),
        site: minted.site.clone(),
        uses: minted.uses,
        uses_left: code.uses_left(),
        auto_approve: minted.auto_approve,
        created_at: minted.created_at,
        created_by: minted.created_by.clone(),
        expires_at: minted.expires_at,
        state: code.state_text(now).to_owned(),
        ca_sha256: None,
    }
}
