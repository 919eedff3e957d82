//! What the agent can do: roles behind one trait, with narrow capabilities.
//!
//! A role gets [`Hands`]: it may tell what happened, knows its folder and its wrapper, and nothing of the bus. Which verbs
//! it has is checked before an order is looked at; whether an order is genuine, before a role sees it.

pub mod inventory;
pub mod script;

use crate::core::record::RunKey;
use crate::core::{Exit, RoleSpec, Why};
use borealis_bus_schema::ids::{IdError, RoleName, VerbName};
use borealis_bus_schema::messages::inventory::Facts;
use borealis_bus_schema::messages::scheduler::OutputStream;
use borealis_bus_schema::order::{Context, Order};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// Is what a role tells.
#[derive(Debug)]
pub enum RoleEvent {
    /// A run's process lives.
    Started(RunKey),
    /// A run's output grew.
    Grew(RunKey, OutputStream, u64),
    /// A run is over.
    Exited(RunKey, Exit),
    /// The leftovers of a run are ended.
    LeftoversEnded(RunKey, Exit),
    /// Facts were gathered.
    Facts(Box<Facts>),
}

/// Is what a role may use.
#[derive(Debug, Clone)]
pub struct Hands {
    /// Where it tells what happened.
    pub tell: UnboundedSender<RoleEvent>,
    /// The folder of the runs.
    pub work: PathBuf,
    /// The program that wraps a run.
    pub wrapper: PathBuf,
}

impl Hands {
    /// Tells something; nobody listens any more when the agent stops.
    pub fn tell(&self, event: RoleEvent) {
        let _ = self.tell.send(event);
    }
}

/// Is what a role is asked.
#[derive(Debug, Clone)]
pub enum Action {
    /// Begin a run.
    Begin(Box<Order>),
    /// End a run.
    End(RunKey, Why),
    /// End what an earlier life left of a run.
    EndLeftovers(RunKey),
    /// Gather facts.
    Gather,
}

/// Is one role.
pub trait Role: Send + Sync {
    /// Returns the role's name.
    fn name(&self) -> &'static str;
    /// Lists the contexts in which it works.
    fn contexts(&self) -> &'static [Context] {
        &[Context::System, Context::CurrentUser]
    }
    /// Lists its verbs.
    fn verbs(&self) -> &'static [&'static str];
    /// Does what it is asked, without waiting; the outcome is told.
    fn handle(&self, action: Action, hands: &Hands);
    /// Ends whatever it does.
    fn stop(&self) {}
}

/// Is the agent's own role: its one verb, `ping`, is answered by the core, because nothing has to be done.
#[derive(Debug, Clone, Copy)]
pub struct AgentRole;

impl Role for AgentRole {
    fn name(&self) -> &'static str {
        "agent"
    }
    fn verbs(&self) -> &'static [&'static str] {
        &["ping"]
    }
    fn handle(&self, _action: Action, _hands: &Hands) {}
}

/// Holds the roles of an agent, in one explicit list.
#[derive(Clone)]
pub struct Roles {
    list: Arc<[Box<dyn Role>]>,
}

impl Roles {
    /// Makes the list.
    pub fn new(list: Vec<Box<dyn Role>>) -> Self {
        Self { list: list.into() }
    }

    /// Names the roles that work in a context, with their verbs.
    ///
    /// Errors: [`IdError`] when a role or verb is misnamed.
    pub fn specs(&self, context: Context) -> Result<Vec<RoleSpec>, IdError> {
        let fits = self.list.iter().filter(|role| role.contexts().contains(&context));
        fits.map(|role| {
            Ok(RoleSpec {
                name: RoleName::new(role.name())?,
                verbs: role
                    .verbs()
                    .iter()
                    .map(|verb| VerbName::new(verb))
                    .collect::<Result<_, _>>()?,
            })
        })
        .collect()
    }

    /// Hands a run to its role.
    pub fn begin(&self, order: Box<Order>, hands: &Hands) {
        let role = self.list.iter().find(|role| role.name() == order.role.as_str());
        if let Some(role) = role {
            role.handle(Action::Begin(order), hands);
        }
    }

    /// Hands something to every role; those that it does not concern leave it.
    pub fn handle(&self, action: &Action, hands: &Hands) {
        for role in &*self.list {
            role.handle(action.clone(), hands);
        }
    }

    /// Ends all roles.
    pub fn stop(&self) {
        for role in &*self.list {
            role.stop();
        }
    }
}
