//! The shapes of bodies and answers, field for field.
//!
//! A field is a name and a kind: `id`, `guid`, `text`, `instant`, `number`, `flag`, `object`, `Name` for another shape; `[…]`
//! is a list, a `?` behind it may be null, a `~` before the name may be left out, `a|b` is one of these texts.

use utoipa::openapi::schema::{
    AdditionalProperties, Array, KnownFormat, Object, ObjectBuilder, OneOfBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};

type Fields = &'static [(&'static str, &'static str)];

const RUN_STATES: &str = "queued|delivered|running|succeeded|failed|timed_out|cancelled|expired|refused|interrupted";
const CODES: Fields = &[
    ("id", "id"),
    ("masked", "text"),
    ("site", "text"),
    ("uses", "number"),
    ("uses_left", "number"),
    ("auto_approve", "flag"),
    ("created_at", "instant"),
    ("created_by", "text"),
    ("expires_at", "instant"),
    ("state", "active|used|expired|revoked"),
    ("~ca_sha256", "text"),
];
const APPROVAL: Fields = &[
    ("id", "id"),
    ("hostname", "text"),
    ("site", "text"),
    ("os", "text"),
    ("arch", "text"),
    ("agent_version", "text"),
    ("context", "SYSTEM|CURRENTUSER"),
    ("address", "text"),
    ("fingerprint", "text"),
    ("words", "text"),
    ("code_id", "id"),
    ("requested_at", "instant"),
    ("expires_at", "instant"),
    ("state", "pending|approved|denied|expired|completed"),
    ("reason", "text?"),
    ("guid", "guid?"),
    ("conflicts", "[Conflict]"),
];
const CONFLICT: Fields = &[
    (
        "kind",
        "known_machine|shut_out_machine|revoked_device|other_site|same_hostname",
    ),
    ("guid", "guid?"),
    ("hostname", "text?"),
    ("site", "text?"),
];
const DEVICE: Fields = &[
    ("guid", "guid"),
    ("hostname", "text"),
    ("site", "text"),
    ("status", "active|quarantined|revoked|decommissioned"),
    ("status_reason", "text?"),
    ("status_by", "text?"),
    ("status_at", "instant?"),
    ("tags", "[text]"),
    ("presence", "online|offline|stale"),
    ("os", "text"),
    ("os_version", "text"),
    ("arch", "text"),
    ("agent_version", "text"),
    ("context", "SYSTEM|CURRENTUSER"),
    ("fingerprint", "text"),
    ("addresses", "[text]"),
    ("last_user", "text?"),
    ("uptime_ms", "number?"),
    ("cpu", "text?"),
    ("memory_bytes", "number?"),
    ("approved_at", "instant"),
    ("first_seen_at", "instant"),
    ("last_seen_at", "instant?"),
    ("~facts", "object?"),
    ("~facts_at", "instant?"),
];
const STANDING: Fields = &[
    ("guid", "guid"),
    ("hostname", "text"),
    ("site", "text"),
    ("status", "active|quarantined|revoked|decommissioned"),
    ("status_reason", "text?"),
    ("status_by", "text?"),
    ("status_at", "instant?"),
];
const JOB: Fields = &[
    ("job", "id"),
    ("created_at", "instant"),
    ("created_by", "text"),
    ("role", "text"),
    ("verb", "text"),
    ("language", "text?"),
    ("context", "SYSTEM|CURRENTUSER"),
    ("script_digest", "text?"),
    ("timeout_ms", "number"),
    ("expires_at", "instant"),
    ("runs_total", "number"),
    ("counts", "object"),
    ("state", "awaiting_approval|active|paused|done"),
    ("cancelled", "flag"),
    ("~approved_by", "text"),
    ("~schedule", "id"),
    ("~due", "instant"),
    ("~waves", "WavesStanding"),
];
const WAVES: Fields = &[
    ("sizes", "[text]"),
    ("~pause_ms", "number"),
    ("~until_continued", "flag"),
    ("~brake", "text"),
];
const WAVES_STANDING: Fields = &[
    ("wave", "number"),
    ("waves_total", "number"),
    ("devices", "number"),
    ("failures", "number"),
    ("brake", "text?"),
    ("state", "running|paused|braked"),
    ("next_at", "instant?"),
    ("reason", "text?"),
];
const RUN: Fields = &[
    ("run", "id"),
    ("job", "id"),
    ("guid", "guid"),
    ("hostname", "text"),
    ("state", RUN_STATES),
    ("attempt", "number"),
    ("exit_code", "number?"),
    ("queued_at", "instant"),
    ("delivered_at", "instant?"),
    ("started_at", "instant?"),
    ("ended_at", "instant?"),
    ("duration_ms", "number?"),
    ("reason", "text?"),
    ("code", "text?"),
    ("truncated", "flag"),
    ("stdout_bytes", "number"),
    ("stderr_bytes", "number"),
];
const VARIABLE: Fields = &[
    ("name", "text"),
    ("~label", "text"),
    ("type", "string|number|boolean|choice|credential"),
    ("~default", "text"),
    ("~required", "flag"),
    ("~choices", "[text]"),
    ("~description", "text"),
];
const LANGUAGES: &str = "sh|bash|python|powershell|batch";
const FILE_REF: Fields = &[
    ("name", "text"),
    ("size_bytes", "number"),
    ("mime_type", "text"),
    ("digest", "text"),
];
const FILE_GIVEN: Fields = &[
    ("name", "text"),
    ("~mime_type", "text"),
    ("~data_base64", "text"),
    ("~digest", "text"),
];
const DRAFT: Fields = &[
    ("name", "text"),
    ("~description", "text"),
    ("~category", "text"),
    ("type", LANGUAGES),
    ("script", "text"),
    ("~variables", "[Variable]"),
    ("~files", "[FileGiven]"),
    ("~timeout_ms", "number"),
    ("~sites", "[text]?"),
    ("~tags", "[text]"),
];
const ASSEMBLY_CONTENT: Fields = &[
    ("name", "text"),
    ("description", "text"),
    ("category", "text"),
    ("type", LANGUAGES),
    ("script", "text"),
    ("variables", "[Variable]"),
    ("files", "[FileRef]"),
    ("timeout_ms", "number"),
    ("sites", "[text]?"),
    ("tags", "[text]"),
];
const ASSEMBLY: Fields = &[
    ("assembly", "id"),
    ("name", "text"),
    ("description", "text"),
    ("category", "text"),
    ("type", LANGUAGES),
    ("sites", "[text]?"),
    ("tags", "[text]"),
    ("latest", "number"),
    ("latest_digest", "text"),
    ("published", "number?"),
    ("published_digest", "text?"),
    ("archived", "flag"),
    ("created_at", "instant"),
    ("created_by", "text"),
    ("updated_at", "instant"),
    ("updated_by", "text"),
];
const ASSEMBLY_VERSION: Fields = &[
    ("version", "number"),
    ("digest", "text"),
    ("state", "draft|published"),
    ("author", "text"),
    ("at", "instant"),
    ("note", "text"),
    ("published_by", "text?"),
    ("published_at", "instant?"),
];
const ASSEMBLY_SHOWN: Fields = &[
    ("standing", "Assembly"),
    ("version", "AssemblyVersion"),
    ("content", "AssemblyContent"),
    ("versions", "[AssemblyVersion]"),
];
const ASSEMBLY_DIFF: Fields = &[
    ("assembly", "id"),
    ("from", "number"),
    ("to", "number"),
    ("fields", "[object]"),
    ("script", "text"),
];
const ASSEMBLY_USE: Fields = &[
    ("assembly", "id"),
    ("version", "number"),
    ("digest", "text"),
    ("~variables", "object"),
];
const CREATE_JOB: Fields = &[
    ("targets", "Targets"),
    ("~role", "script|agent"),
    ("~verb", "run|ping"),
    ("~language", LANGUAGES),
    ("~context", "SYSTEM|CURRENTUSER"),
    ("~script", "text"),
    ("~args", "[text]"),
    ("~env", "object"),
    ("~assembly", "AssemblyUse"),
    ("~timeout_ms", "number"),
    ("~expires_in_ms", "number"),
    ("~retries", "number"),
    ("~backoff_ms", "number"),
    ("~waves", "Waves"),
];
const FOLLOW_LINE: Fields = &[
    ("job", "id"),
    ("run", "id"),
    ("guid", "guid"),
    ("hostname", "text"),
    ("~stream", "stdout|stderr"),
    ("~seq", "number"),
    ("~data", "text"),
    ("~data_base64", "text"),
    ("~final", "flag"),
    ("~state", RUN_STATES),
    ("~exit_code", "number?"),
    ("~duration_ms", "number?"),
    ("~truncated", "flag"),
    ("~reason", "text?"),
    ("~code", "text?"),
];
const OUTPUT_RANGE: Fields = &[
    ("stream", "stdout|stderr"),
    ("offset", "number"),
    ("size_bytes", "number"),
    ("~data", "text"),
    ("~data_base64", "text"),
    ("truncated", "flag"),
    ("state", RUN_STATES),
];
const SESSION: Fields = &[
    ("session_id", "id"),
    ("operator", "id"),
    ("username", "text"),
    ("expires_at", "instant"),
    ("rights", "[text]"),
    ("sites", "[text]"),
    ("reach", "[RightOnSites]"),
    ("second_factor", "flag"),
    ("recovery_codes_left", "number"),
    ("passkeys", "number"),
    ("proved_at", "instant?"),
];
const RIGHT_ON_SITES: Fields = &[("right", "text"), ("sites", "[text]"), ("~max_devices", "number?")];
const SESSION_VIEW: Fields = &[
    ("id", "id"),
    ("operator", "id"),
    ("username", "text"),
    ("peer", "text"),
    ("started_at", "instant"),
    ("last_seen_at", "instant"),
    ("expires_at", "instant"),
    ("current", "flag"),
];
const TOKEN: Fields = &[
    ("id", "id"),
    ("name", "text"),
    ("author", "id"),
    ("username", "text"),
    ("key_fingerprint", "text"),
    ("rights", "[RightOnSites]"),
    ("devices", "[guid]?"),
    ("created_at", "instant"),
    ("expires_at", "instant"),
    ("state", "active|revoked|expired"),
    ("~biscuit", "text"),
];
const GRANT: Fields = &[
    ("id", "id"),
    ("acts", "job|schedule|approval?"),
    ("job", "id?"),
    ("schedule", "id?"),
    ("author", "id"),
    ("username", "text"),
    ("by_token", "bool"),
    ("expires_at", "instant"),
    ("state", "active|revoked"),
];
const CREATE_TOKEN: Fields = &[
    ("name", "text"),
    ("public_key", "text"),
    ("rights", "[RightOnSites]"),
    ("~devices", "[guid]?"),
    ("lifetime_ms", "number"),
];
const CHANGE_PASSWORD: Fields = &[
    ("step", "start|finish"),
    ("~login_request", "text"),
    ("~registration_request", "text"),
    ("~change_id", "id"),
    ("~login_finalization", "text"),
    ("~registration_record", "text"),
    ("~factor", "FactorProof"),
];
const PASSWORD_CHANGED: Fields = &[
    ("~change_id", "id"),
    ("~login_response", "text"),
    ("~registration_response", "text"),
    ("~factors", "[text]"),
    ("~sessions_ended", "number"),
];
const USER: Fields = &[
    ("id", "id"),
    ("username", "text"),
    ("roles", "[text]"),
    ("state", "invited|active|disabled|deleted"),
    ("created_at", "instant"),
    ("created_by", "text?"),
    ("last_login_at", "instant?"),
    ("link_expires_at", "instant?"),
    ("second_factor", "flag"),
    ("passkeys", "number"),
];
const PASSKEY: Fields = &[
    ("id", "id"),
    ("name", "text"),
    ("host", "text"),
    ("created_at", "instant"),
    ("last_used_at", "instant?"),
];
const PASSKEY_ASSERTION: Fields = &[
    ("credential_id", "text"),
    ("client_data_json", "text"),
    ("authenticator_data", "text"),
    ("signature", "text"),
    ("user_handle", "text"),
];
const REGISTER_PASSKEY: Fields = &[
    ("step", "start|finish"),
    ("~host", "text"),
    ("~ceremony_id", "id"),
    ("~name", "text"),
    ("~made", "PasskeyMade"),
];
const PASSKEY_REGISTERED: Fields = &[
    ("~ceremony_id", "id"),
    ("~nonce", "text"),
    ("~rp_id", "text"),
    ("~user_handle", "text"),
    ("~username", "text"),
    ("~exclude", "[text]"),
    ("~id", "id"),
    ("~name", "text"),
    ("~host", "text"),
    ("~created_at", "instant"),
    ("~last_used_at", "instant?"),
];
const PASSKEY_STEP_UP: Fields = &[
    ("step", "start|finish"),
    ("~host", "text"),
    ("~act", "text"),
    ("~ceremony_id", "id"),
    ("~assertion", "PasskeyAssertion"),
];
const PASSKEY_STEPPED_UP: Fields = &[
    ("~ceremony_id", "id"),
    ("~nonce", "text"),
    ("~rp_id", "text"),
    ("~allow", "[text]"),
    ("~token", "text"),
    ("~session_id", "id"),
    ("~username", "text"),
    ("~expires_at", "instant"),
    ("~proved_at", "instant"),
];
const FACTOR_PROOF: Fields = &[("kind", "totp|recovery"), ("tag", "text")];
const FACTOR_STANDING: Fields = &[("second_factor", "flag"), ("recovery_codes_left", "number")];
const PROVE_AGAIN: Fields = &[
    ("step", "start|finish"),
    ("~login_request", "text"),
    ("~exchange_id", "id"),
    ("~login_finalization", "text"),
    ("~factor", "FactorProof"),
];
const STEPPED_UP: Fields = &[
    ("~exchange_id", "id"),
    ("~login_response", "text"),
    ("~factors", "[text]"),
    ("~token", "text"),
    ("~session_id", "id"),
    ("~username", "text"),
    ("~expires_at", "instant"),
    ("~proved_at", "instant"),
];
const TOTP_ENROLLED: Fields = &[
    ("~exchange_id", "id"),
    ("~login_response", "text"),
    ("~factors", "[text]"),
    ("~confirm_until", "instant"),
];
const RECOVERY_CODES_MADE: Fields = &[
    ("~exchange_id", "id"),
    ("~login_response", "text"),
    ("~factors", "[text]"),
    ("~second_factor", "flag"),
    ("~recovery_codes_left", "number"),
];
const ROLE: Fields = &[
    ("name", "text"),
    ("description", "text"),
    ("rights", "[RightOnSites]"),
    ("max_devices", "number?"),
    ("fixed", "flag"),
    ("users", "number"),
];
const SITE: Fields = &[("name", "text"), ("description", "text"), ("created_at", "instant?")];
const PROBLEM: Fields = &[
    ("type", "text"),
    ("title", "text"),
    ("status", "number"),
    ("detail", "text"),
    ("code", "text"),
    ("retry", "never|later|refresh"),
    ("request_id", "id"),
];
const LOGIN: Fields = &[
    ("step", "start|finish|factor|passkey_start|passkey_finish"),
    ("~username", "text"),
    ("~login_request", "text"),
    ("~session_public_key", "text"),
    ("~login_id", "id"),
    ("~login_finalization", "text"),
    ("~key_binding", "text"),
    ("~factor", "FactorProof"),
    ("~host", "text"),
    ("~assertion", "PasskeyAssertion"),
];
const LOGIN_ANSWER: Fields = &[
    ("~login_id", "id"),
    ("~nonce", "text"),
    ("~rp_id", "text"),
    ("~login_response", "text"),
    ("~factors", "[text]"),
    ("~token", "text"),
    ("~session_id", "id"),
    ("~username", "text"),
    ("~expires_at", "instant"),
];
const SETUP: Fields = &[
    ("step", "start|finish"),
    ("link", "text"),
    ("username", "text"),
    ("registration_request", "text"),
    ("~registration_record", "text"),
    ("proof", "text"),
];

const AUDIT_RECORD: Fields = &[
    ("service", "text"),
    ("position", "number"),
    ("at", "instant"),
    ("actor", "Actor"),
    ("session", "id?"),
    ("grant", "id?"),
    ("address", "text?"),
    ("via", "text?"),
    ("action", "text"),
    ("verb", "text"),
    ("objects", "[text]"),
    ("outcome", "text"),
    ("correlation", "id"),
    ("command", "id?"),
    ("more", "number"),
];
const VERIFIED: Fields = &[
    ("service", "text"),
    ("position", "number"),
    ("hash", "text"),
    ("checked", "number"),
    ("dropped", "number"),
    ("end", "flag"),
    ("finding", "object?"),
    ("countersigned", "object?"),
    ("countersigned_error", "text?"),
];

const CREATE_SCHEDULE: Fields = &[
    ("name", "text"),
    ("job", "CreateJob"),
    ("~cron", "text"),
    ("~kind", "text"),
    ("~zone", "text"),
    ("~start", "instant"),
    ("~end", "instant"),
    ("~misfire", "skip|once|all"),
    ("~misfire_most", "number"),
    ("~late_limit_ms", "number"),
    ("~concurrency", "allow|forbid|queue|replace"),
    ("~jitter_ms", "number"),
];
const SCHEDULE: Fields = &[
    ("schedule", "id"),
    ("name", "text"),
    ("created_at", "instant"),
    ("created_by", "text"),
    ("state", "active|paused|stopped|ended|archived"),
    ("reason", "text?"),
    ("code", "text?"),
    ("follows", "text"),
    ("zone", "text"),
    ("start", "instant"),
    ("end", "instant?"),
    ("misfire", "skip|once|all"),
    ("misfire_most", "number"),
    ("late_limit_ms", "number?"),
    ("concurrency", "allow|forbid|queue|replace"),
    ("delay_ms", "number"),
    ("role", "text"),
    ("verb", "text"),
    ("language", "text?"),
    ("context", "SYSTEM|CURRENTUSER"),
    ("script_digest", "text?"),
    ("timeout_ms", "number"),
    ("expires_in_ms", "number"),
    ("guids", "[guid]"),
    ("next_at", "instant?"),
    ("next_local", "text?"),
    ("skips", "[instant]"),
    ("queued", "instant?"),
    ("fired", "number"),
    ("not_run", "number"),
    ("last_job", "id?"),
    ("last_at", "instant?"),
];
const FIRED: Fields = &[
    ("at", "instant"),
    (
        "what",
        "created|ran|queued|not_run|paused|resumed|skipped_next|ran_now|stopped|archived",
    ),
    ("due", "instant?"),
    ("count", "number"),
    ("reason", "text?"),
    ("note", "text?"),
    ("code", "text?"),
    ("by", "text?"),
    ("job", "id?"),
    ("devices", "number?"),
];

const SHAPES: &[(&str, Fields)] = &[
    (
        "Actor",
        &[
            ("kind", "operator|device|service|anonymous"),
            ("id", "text?"),
            ("name", "text?"),
        ],
    ),
    ("AuditRecord", AUDIT_RECORD),
    (
        "Audit",
        &[
            ("items", "[AuditRecord]"),
            ("cursor", "text"),
            ("next_cursor", "text?"),
            ("missing", "[text]"),
        ],
    ),
    ("AuditVerified", VERIFIED),
    ("Problem", PROBLEM),
    ("Setup", SETUP),
    (
        "SetupAnswer",
        &[("~registration_response", "text"), ("~operator", "id")],
    ),
    ("Login", LOGIN),
    ("LoginAnswer", LOGIN_ANSWER),
    ("Session", SESSION),
    ("SessionView", SESSION_VIEW),
    ("Sessions", &[("items", "[SessionView]"), ("next_cursor", "text?")]),
    ("Token", TOKEN),
    ("Tokens", &[("items", "[Token]"), ("next_cursor", "text?")]),
    ("Grant", GRANT),
    ("Grants", &[("items", "[Grant]"), ("next_cursor", "text?")]),
    ("CreateToken", CREATE_TOKEN),
    ("ChangePassword", CHANGE_PASSWORD),
    ("ChangePasswordAnswer", PASSWORD_CHANGED),
    ("FactorProof", FACTOR_PROOF),
    ("FactorStanding", FACTOR_STANDING),
    ("ProveAgain", PROVE_AGAIN),
    ("StepUpAnswer", STEPPED_UP),
    ("EnrolTotpAnswer", TOTP_ENROLLED),
    ("ConfirmTotp", &[("code", "text")]),
    ("RecoveryCodesAnswer", RECOVERY_CODES_MADE),
    ("Passkey", PASSKEY),
    ("Passkeys", &[("items", "[Passkey]"), ("next_cursor", "text?")]),
    ("PasskeyAssertion", PASSKEY_ASSERTION),
    (
        "PasskeyMade",
        &[("client_data_json", "text"), ("authenticator_data", "text")],
    ),
    ("RegisterPasskey", REGISTER_PASSKEY),
    ("RegisterPasskeyAnswer", PASSKEY_REGISTERED),
    ("RenamePasskey", &[("name", "text")]),
    ("PasskeyStepUp", PASSKEY_STEP_UP),
    ("PasskeyStepUpAnswer", PASSKEY_STEPPED_UP),
    ("RightOnSites", RIGHT_ON_SITES),
    ("User", USER),
    ("Users", &[("items", "[User]"), ("next_cursor", "text?")]),
    (
        "InviteUser",
        &[("link", "text"), ("username", "text"), ("roles", "[text]")],
    ),
    ("ResetUser", &[("link", "text")]),
    ("SetUserRoles", &[("roles", "[text]")]),
    ("DisableUser", &[("~reason", "text"), ("~for_good", "flag")]),
    ("Role", ROLE),
    ("Roles", &[("items", "[Role]"), ("next_cursor", "text?")]),
    (
        "CreateRole",
        &[
            ("name", "text"),
            ("~description", "text"),
            ("rights", "[RightOnSites]"),
            ("~max_devices", "number?"),
        ],
    ),
    (
        "UpdateRole",
        &[
            ("~description", "text"),
            ("~rights", "[RightOnSites]"),
            ("~max_devices", "number?"),
        ],
    ),
    ("Site", SITE),
    ("Sites", &[("items", "[Site]"), ("next_cursor", "text?")]),
    ("CreateSite", &[("name", "text"), ("~description", "text")]),
    ("UpdateSite", &[("description", "text")]),
    (
        "CreateCode",
        &[
            ("public_key", "text"),
            ("hint", "text"),
            ("~site", "text"),
            ("~uses", "number"),
            ("~lifetime_ms", "number"),
            ("~auto_approve", "flag"),
        ],
    ),
    ("Code", CODES),
    ("Codes", &[("items", "[Code]")]),
    ("Approval", APPROVAL),
    ("Approvals", &[("items", "[Approval]")]),
    ("Conflict", CONFLICT),
    (
        "Approve",
        &[
            ("~site", "text"),
            ("~conflict", "overwrite|merge|co_exist"),
            ("~tags", "[text]"),
        ],
    ),
    ("Deny", &[("~reason", "text")]),
    ("Device", DEVICE),
    ("ChangeStatus", &[("~reason", "text")]),
    ("DeviceStanding", STANDING),
    ("ChangeTags", &[("~add", "[text]"), ("~remove", "[text]")]),
    (
        "DeviceTags",
        &[("guid", "guid"), ("hostname", "text"), ("tags", "[text]")],
    ),
    (
        "Devices",
        &[("items", "[Device]"), ("next_cursor", "text?"), ("~total", "number")],
    ),
    (
        "Targets",
        &[
            ("~all", "flag"),
            ("~guids", "[guid]"),
            ("~sites", "[text]"),
            ("~filter", "text"),
            ("~except", "[guid]"),
        ],
    ),
    (
        "JobPreview",
        &[
            ("devices_total", "number"),
            ("online", "number"),
            ("unable", "number"),
            ("awaiting_approval", "flag"),
            ("refused", "Unable?"),
            ("items", "[PreviewedDevice]"),
            ("next_cursor", "text?"),
        ],
    ),
    (
        "PreviewedDevice",
        &[
            ("guid", "guid"),
            ("hostname", "text"),
            ("site", "text?"),
            ("online", "flag"),
            ("unable", "Unable?"),
        ],
    ),
    (
        "JobOutputs",
        &[
            ("job", "id"),
            ("open", "number"),
            ("pending", "number"),
            ("unreadable", "number"),
            ("groups_total", "number"),
            ("items", "[OutputGroup]"),
            ("next_cursor", "text?"),
        ],
    ),
    (
        "OutputGroup",
        &[
            ("runs", "number"),
            ("state", RUN_STATES),
            ("exit_code", "number?"),
            ("code", "text?"),
            ("stdout", "text?"),
            ("stderr", "text?"),
            ("stdout_bytes", "number"),
            ("stderr_bytes", "number"),
            ("truncated", "flag"),
            ("run", "id"),
            ("hostnames", "[text]"),
            ("~found", "text"),
        ],
    ),
    ("Unable", &[("code", "text"), ("reason", "text")]),
    ("CreateJob", CREATE_JOB),
    ("AssemblyUse", ASSEMBLY_USE),
    ("Variable", VARIABLE),
    ("FileRef", FILE_REF),
    ("FileGiven", FILE_GIVEN),
    ("Draft", DRAFT),
    ("Assembly", ASSEMBLY),
    ("AssemblyVersion", ASSEMBLY_VERSION),
    ("AssemblyContent", ASSEMBLY_CONTENT),
    ("AssemblyShown", ASSEMBLY_SHOWN),
    ("AssemblyDiff", ASSEMBLY_DIFF),
    (
        "AssemblyFile",
        &[("digest", "text"), ("size_bytes", "number"), ("data_base64", "text")],
    ),
    ("Assemblies", &[("items", "[Assembly]"), ("next_cursor", "text?")]),
    ("CreateAssembly", &[("draft", "Draft"), ("~note", "text")]),
    (
        "EditAssembly",
        &[("based_on", "number"), ("draft", "Draft"), ("~note", "text")],
    ),
    ("PublishAssembly", &[("version", "number"), ("digest", "text")]),
    ("ArchiveAssembly", &[("archived", "flag")]),
    ("Waves", WAVES),
    ("WavesStanding", WAVES_STANDING),
    (
        "JobCreated",
        &[("job", "id"), ("runs_total", "number"), ("awaiting_approval", "flag")],
    ),
    (
        "JobRequest",
        &[
            ("job", "id"),
            ("created_by", "text"),
            ("method", "text"),
            ("path", "text"),
            ("body_base64", "text"),
        ],
    ),
    ("ApproveJob", &[("request", "text"), ("devices", "text")]),
    ("Job", JOB),
    ("Jobs", &[("items", "[Job]"), ("next_cursor", "text?")]),
    ("Run", RUN),
    ("Runs", &[("items", "[Run]"), ("next_cursor", "text?")]),
    ("FollowLine", FOLLOW_LINE),
    (
        "FollowPage",
        &[("lines", "[FollowLine]"), ("cursor", "text"), ("done", "flag")],
    ),
    ("OutputRange", OUTPUT_RANGE),
    ("CreateSchedule", CREATE_SCHEDULE),
    ("Schedule", SCHEDULE),
    ("Schedules", &[("items", "[Schedule]"), ("next_cursor", "text?")]),
    ("Fired", FIRED),
    ("ScheduleHistory", &[("items", "[Fired]"), ("next_cursor", "text?")]),
    ("RunSchedule", &[("request", "text")]),
    (
        "ScheduleRequest",
        &[
            ("schedule", "id"),
            ("created_by", "text"),
            ("method", "text"),
            ("path", "text"),
            ("body_base64", "text"),
        ],
    ),
    (
        "SchedulePreview",
        &[
            ("schedule", "text"),
            ("zone", "text"),
            ("zones_release", "text"),
            ("from", "instant"),
            ("until", "instant?"),
            ("items", "[SchedulePreviewed]"),
            ("more", "flag"),
        ],
    ),
    (
        "SchedulePreviewed",
        &[
            ("at", "instant"),
            ("local", "text"),
            ("change", "text?"),
            ("note", "text?"),
        ],
    ),
    ("Empty", &[]),
];

/// Names the shape of what a route of the gateway's own answers.
pub(super) fn answer_of_own(path: &str) -> Option<&'static str> {
    match path {
        "/api/v1/audit" => Some("Audit"),
        "/api/v1/audit/verify" => Some("AuditVerified"),
        _ => None,
    }
}

/// Lists what the query of a route of the gateway's own may hold.
pub(super) fn query_of_own(path: &str) -> &'static [(&'static str, &'static str)] {
    match path {
        "/api/v1/audit" => &[
            ("order", "`desc` (newest first, the default) or `asc`"),
            ("limit", "How many at most, up to 500"),
            ("cursor", "Where to go on, as a page gave it"),
            ("from", "At this instant or later"),
            ("to", "Before this instant"),
            ("object", "`<kind>/<id>`, or the id alone"),
            ("actor", "Id, name, or `operator`, `device`, `service`, `anonymous`"),
            ("outcome", "`accepted`, `refused`, or an error's code"),
            (
                "action",
                "The whole action, its verb, or what verbs begin with: `jobs` for `jobs-create`",
            ),
        ],
        "/api/v1/audit/verify" => &[
            ("service", "Whose log"),
            ("position", "The place that was checked before"),
            ("hash", "The chain's hash there"),
        ],
        _ => &[],
    }
}

/// Returns every shape with its name.
pub(super) fn all() -> impl Iterator<Item = (&'static str, Schema)> {
    SHAPES.iter().map(|(name, fields)| (*name, shape(fields)))
}

fn shape(fields: Fields) -> Schema {
    let mut object = ObjectBuilder::new().schema_type(SchemaType::new(Type::Object));
    for (name, kind) in fields {
        match name.strip_prefix('~') {
            Some(name) => object = object.property(name, schema(kind)),
            None => object = object.property(*name, schema(kind)).required(*name),
        }
    }
    Schema::Object(object.build())
}

fn schema(kind: &str) -> RefOr<Schema> {
    if let Some(kind) = kind.strip_suffix('?') {
        let null = Object::with_type(SchemaType::new(Type::Null));
        let either = OneOfBuilder::new().item(schema(kind)).item(Schema::Object(null));
        return RefOr::T(Schema::OneOf(either.build()));
    }
    if let Some(kind) = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
        return RefOr::T(Schema::Array(Array::new(schema(kind))));
    }
    if kind.starts_with(|c: char| c.is_ascii_uppercase()) && !kind.contains('|') {
        return RefOr::Ref(Ref::from_schema_name(kind));
    }
    let text = || ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
    let object = match kind {
        "id" => text().pattern(Some("^[0-9a-f]{32}$")),
        "guid" => text().format(Some(SchemaFormat::Custom("uuid".to_owned()))),
        "instant" => text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
        "text" => text(),
        "number" => ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)),
        "flag" => ObjectBuilder::new().schema_type(SchemaType::new(Type::Boolean)),
        "object" => ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::Object))
            .additional_properties(Some(AdditionalProperties::FreeForm(true))),
        values => text().enum_values(Some(values.split('|'))),
    };
    RefOr::T(Schema::Object(object.build()))
}

/// Returns the shape of a verb's body; `None` where the device's side describes it.
pub(super) fn body_of(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "setup" => "Setup",
        "login" => "Login",
        "codes-create" => "CreateCode",
        "approvals-approve" => "Approve",
        "approvals-deny" => "Deny",
        "jobs-create" => "CreateJob",
        "jobs-approve" => "ApproveJob",
        "schedules-create" => "CreateSchedule",
        "schedules-run" => "RunSchedule",
        "assemblies-create" => "CreateAssembly",
        "assemblies-edit" => "EditAssembly",
        "assemblies-publish" => "PublishAssembly",
        "assemblies-archive" => "ArchiveAssembly",
        "devices-quarantine" | "devices-release" | "devices-revoke" | "devices-decommission" | "devices-rotate-key" => {
            "ChangeStatus"
        }
        "devices-tag" => "ChangeTags",
        "password" => "ChangePassword",
        "step-up" | "totp-enrol" | "recovery-codes" => "ProveAgain",
        "totp-confirm" => "ConfirmTotp",
        "step-up-passkey" => "PasskeyStepUp",
        "passkeys-register" => "RegisterPasskey",
        "passkeys-rename" => "RenamePasskey",
        "tokens-create" => "CreateToken",
        "users-invite" => "InviteUser",
        "users-reset" => "ResetUser",
        "users-roles" => "SetUserRoles",
        "users-disable" => "DisableUser",
        "roles-create" => "CreateRole",
        "roles-update" => "UpdateRole",
        "sites-create" => "CreateSite",
        "sites-update" => "UpdateSite",
        "schedules-pause" | "schedules-resume" | "schedules-skip" | "schedules-archive" => "Empty",
        "logout" | "codes-revoke" | "jobs-cancel" | "users-enable" | "sessions-end" | "tokens-revoke"
        | "grants-revoke" | "totp-remove" | "passkeys-remove" | "users-reset-factor" => "Empty",
        _ => return None,
    })
}

/// Returns the shape of a verb's answer; `None` where the device's side describes it.
pub(super) fn answer_of(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "setup" => "SetupAnswer",
        "login" => "LoginAnswer",
        "logout" => "Empty",
        "session" => "Session",
        "sessions-list" => "Sessions",
        "sessions-end" => "SessionView",
        "password" => "ChangePasswordAnswer",
        "step-up" => "StepUpAnswer",
        "totp-enrol" => "EnrolTotpAnswer",
        "totp-confirm" | "totp-remove" => "FactorStanding",
        "recovery-codes" => "RecoveryCodesAnswer",
        "step-up-passkey" => "PasskeyStepUpAnswer",
        "passkeys-list" => "Passkeys",
        "passkeys-register" => "RegisterPasskeyAnswer",
        "passkeys-rename" | "passkeys-remove" => "Passkey",
        "tokens-list" => "Tokens",
        "tokens-create" | "tokens-revoke" => "Token",
        "grants-list" => "Grants",
        "grants-revoke" => "Grant",
        "users-list" => "Users",
        "users-invite" | "users-roles" | "users-disable" | "users-enable" | "users-reset" | "users-reset-factor" => {
            "User"
        }
        "roles-list" => "Roles",
        "roles-create" | "roles-update" => "Role",
        "sites-list" => "Sites",
        "sites-create" | "sites-update" => "Site",
        "codes-list" => "Codes",
        "codes-create" | "codes-revoke" => "Code",
        "approvals-list" => "Approvals",
        "approvals-approve" | "approvals-deny" => "Approval",
        "devices-list" => "Devices",
        "devices-show" => "Device",
        "devices-quarantine" | "devices-release" | "devices-revoke" | "devices-decommission" | "devices-rotate-key" => {
            "DeviceStanding"
        }
        "devices-tag" => "DeviceTags",
        "assemblies-list" => "Assemblies",
        "assemblies-show" => "AssemblyShown",
        "assemblies-diff" => "AssemblyDiff",
        "assemblies-file" => "AssemblyFile",
        "assemblies-create" | "assemblies-edit" | "assemblies-publish" | "assemblies-archive" => "Assembly",
        "jobs-create" => "JobCreated",
        "jobs-preview" => "JobPreview",
        "jobs-list" => "Jobs",
        "jobs-request" => "JobRequest",
        "jobs-show" | "jobs-cancel" | "jobs-continue" | "jobs-approve" => "Job",
        "jobs-runs" => "Runs",
        "jobs-output" => "FollowPage",
        "jobs-outputs" => "JobOutputs",
        "schedules-preview" => "SchedulePreview",
        "schedules-list" => "Schedules",
        "schedules-history" => "ScheduleHistory",
        "schedules-request" => "ScheduleRequest",
        "schedules-run" => "JobCreated",
        "schedules-create" | "schedules-show" | "schedules-pause" | "schedules-resume" | "schedules-skip"
        | "schedules-archive" => "Schedule",
        "runs-show" => "Run",
        "runs-output" => "OutputRange",
        _ => return None,
    })
}

/// Lists the parameters of a verb's query.
pub(super) fn query_of(verb: &str) -> Fields {
    const PAGES: Fields = &[
        ("cursor", "Where the page begins: `next_cursor` of the page before"),
        ("limit", "How many items at most"),
    ];
    match verb {
        "approvals-list" => &[("state", "Only those in this state")],
        "devices-list" => &[
            ("cursor", "Where the page begins: `next_cursor` of the page before"),
            ("limit", "How many items at most"),
            ("q", "Only those that hold this text"),
            ("tag", "Only those that have this tag"),
        ],
        "jobs-list" | "jobs-runs" | "schedules-list" | "schedules-history" => PAGES,
        "jobs-outputs" => &[
            ("cursor", "Where the page begins: `next_cursor` of the page before"),
            ("limit", "How many items at most"),
            (
                "find",
                "Only those that printed this text; a page may then be empty though more follow",
            ),
        ],
        "jobs-preview" => &[
            ("all", "`true`: every active device that the caller's rights reach"),
            ("devices", "Devices by their GUIDs, with commas between them"),
            ("sites", "All of these sites, with commas between them"),
            ("filter", "Only those that this filter lets through"),
            ("except", "None of these, by their GUIDs, with commas between them"),
            (
                "context",
                "With which rights it would run: `SYSTEM` unless told, or `CURRENTUSER`",
            ),
            ("assembly", "The assembly that it would run, by its id"),
            ("version", "Which version of it"),
            ("cursor", "Where the page begins: `next_cursor` of the page before"),
            ("limit", "How many devices at most: 1 to 500, 100 unless told"),
        ],
        "assemblies-list" => &[
            ("cursor", "Where the page begins: `next_cursor` of the page before"),
            ("limit", "How many items at most"),
            ("q", "Only those in which all these words stand"),
            ("in", "`script`: looks for the words in the scripts too"),
            ("category", "Only those filed under this"),
            ("type", "Only those in this language"),
            ("tag", "Only those with this tag"),
            ("site", "Only those for devices of this site"),
            (
                "state",
                "`active` (unless told), `published`, `draft`, `archived` or `all`",
            ),
        ],
        "assemblies-show" => &[("version", "Which version's content; the newest unless told")],
        "assemblies-diff" => &[
            ("from", "A version; the published one unless told"),
            ("to", "A version; the newest unless told"),
        ],
        "assemblies-file" => &[("digest", "The file")],
        "jobs-output" => &[
            ("cursor", "Where to go on: `cursor` of the page before"),
            ("wait_ms", "How long to wait when there is nothing new"),
        ],
        "schedules-preview" => &[
            ("cron", "Cron text with five fields, or six with the second first"),
            (
                "kind",
                "Instead of `cron`: `once`, `every_5_minutes`, `daily`, `weekly`, `monthly`, `yearly`, …",
            ),
            ("zone", "Time zone of the IANA database; `UTC` unless told"),
            (
                "start",
                "Where a `kind` begins, and what a schedule does not fire before",
            ),
            ("end", "What a schedule does not fire at or after"),
            ("from", "Shows firings from here on; now unless told"),
            ("until", "Shows firings before this"),
            (
                "period",
                "`last_month`: instead of `from` and `until`, the calendar month before this one",
            ),
            ("count", "How many at most: 1 to 1000, 20 unless told"),
        ],
        "runs-output" => &[
            ("stream", "`stdout` or `stderr`"),
            ("offset", "The first byte"),
            ("limit", "How many bytes at most"),
        ],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_that_is_named_exists() {
        let known: Vec<&str> = SHAPES.iter().map(|(name, _)| *name).collect();
        let kinds = SHAPES
            .iter()
            .flat_map(|(_, fields)| fields.iter().map(|(_, kind)| *kind));
        let named = kinds
            .map(|kind| kind.trim_matches(['[', ']', '?']))
            .filter(|kind| kind.starts_with(|c: char| c.is_ascii_uppercase()) && !kind.contains('|'));
        let verbs = borealis_bus_schema::routes::ROUTES.iter().map(|route| route.verb);
        let used = verbs.flat_map(|verb| [body_of(verb), answer_of(verb)]).flatten();
        for name in named.chain(used) {
            assert!(known.contains(&name), "{name}");
        }
    }
}
