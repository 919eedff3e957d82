//! borealis-logging.
