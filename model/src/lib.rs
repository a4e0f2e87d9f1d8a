//! A model of the coherence protocol, to be explored through every order of events.
//!
//! The decisions are the service's own: `coherence` is the very source that the service is built
//! from. The model adds the world around it: a database, Redis servers, replicas, buses, time, and
//! what goes wrong with them. `docs/model.md` says what is covered, and what is not.

#![expect(missing_docs, reason = "the fields of a step's state are named for what they are")]

#[path = "../../src/coherence/mod.rs"]
pub mod coherence;

pub mod action;
pub mod config;
pub mod coverage;
pub mod database;
pub mod guards;
pub mod process;
pub mod protocol;
pub mod redis;
pub mod run;
pub mod runs;
mod steps;
pub mod world;
