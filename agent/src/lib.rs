//! borealis-agent.
