//! `assemblies-file`: the bytes of a file that a version of an assembly has.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use borealis_bus_schema::codes::Code;
use borealis_bus_schema::ids::AssemblyId;
use borealis_bus_schema::messages::library::AssemblyFile;
use borealis_bus_schema::order::Digest;
use borealis_bus_schema::reply::{Reply, WireError};
use borealis_bus_schema::routes::Right;
use borealis_service_kit::operator::OperatorCtx;

use super::find;
use crate::library::Library;

impl Library {
    /// Returns a file by its digest.
    ///
    /// Errors: `not_found`, also for a file of another assembly; `invalid_field`; `storage_failed`.
    pub async fn assemblies_file(self: Arc<Self>, ctx: OperatorCtx) -> Reply<AssemblyFile> {
        let id: AssemblyId = ctx.id()?;
        let digest = {
            let catalogue = self.catalogue.read();
            let state = find(&catalogue, &ctx.caller, Right::LibraryRead, &id)?;
            let digest = ctx.call.query("digest").and_then(|text| text.parse::<Digest>().ok());
            let digest = digest
                .ok_or_else(|| WireError::new(Code::InvalidField, "digest: 64 lower-case hex digits of a file"))?;
            if !state.has_file(&digest) {
                return Err(WireError::new(
                    Code::NotFound,
                    "no version of the assembly has this file",
                ));
            }
            digest
        };
        let data = self.read(digest).await?;
        Ok(AssemblyFile {
            digest,
            size_bytes: data.len() as u64,
            data_base64: STANDARD.encode(&data),
        })
    }
}
