//! Pushes: the jobs that carry them out, and what runs once they are done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::folder::Folder;
use super::store::{Candidate, Object};

/// The owner that jobs name.
const OWNER: &str = "cfgserv";

#[derive(Debug)]
struct Job {
    id: u64,
    parent: u64,
    kind: &'static str,
    description: String,
    started: Instant,
    started_at: jiff::Timestamp,
    takes: Duration,
    errors: Vec<String>,
}

impl Job {
    fn finished(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.started) >= self.takes
    }

    /// The job on the wire: every number a string, the details a JSON text.
    fn wire(&self, now: Instant) -> Value {
        let finished = self.finished(now);
        let failed = !self.errors.is_empty();
        let (result, result_number) = match (finished, failed) {
            (false, _) => ("PEND", "0"),
            (true, false) => ("OK", "2"),
            (true, true) => ("FAIL", "1"),
        };
        let percent = if finished {
            100
        } else {
            let takes = self.takes.as_millis().max(1);
            now.saturating_duration_since(self.started).as_millis() * 100 / takes
        };
        let errors: &[String] = if finished { &self.errors } else { &[] };
        let details = json!({"info": [], "errors": errors, "warnings": [], "description": self.description});
        let started = self.started_at.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let ended = jiff::SignedDuration::try_from(self.takes)
            .ok()
            .and_then(|takes| self.started_at.checked_add(takes).ok())
            .filter(|_| finished)
            .map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string());
        json!({
            "id": self.id.to_string(),
            "parent_id": self.parent.to_string(),
            "type_str": self.kind,
            "type_i": if self.parent == 0 { "53" } else { "22" },
            "status_str": if finished { "FIN" } else { "ACT" },
            "status_i": if finished { "2" } else { "1" },
            "job_status": if finished { "2" } else { "1" },
            "result_str": result,
            "result_i": result_number,
            "job_result": result_number,
            "percent": percent.to_string(),
            "details": details.to_string(),
            "summary": if finished { "Configuration push finished" } else { "" },
            "owner": OWNER,
            "uname": "simulator",
            "insert_ts": started,
            "start_ts": started,
            "last_update": ended.clone().unwrap_or_else(|| started.clone()),
            "end_ts": ended,
        })
    }
}

/// What runs in a folder.
#[derive(Debug, Default)]
pub(crate) struct Running {
    pub(crate) version: u64,
    pub(crate) date: Option<jiff::Timestamp>,
    pub(crate) objects: Vec<Object>,
}

#[derive(Debug)]
struct Push {
    job: u64,
    snapshots: Vec<(Folder, Vec<Object>)>,
}

/// The jobs of a tenant, and its running configuration.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    by_id: BTreeMap<u64, Job>,
    pending: Vec<Push>,
    running: BTreeMap<Folder, Running>,
    version: u64,
}

impl Jobs {
    /// Starts a push and returns its job.
    pub(crate) fn push(
        &mut self,
        candidate: &Candidate,
        folders: &[Folder],
        description: &str,
        takes: Duration,
        errors: &[String],
    ) -> u64 {
        self.settle();
        let parent = self.start(0, "CommitAndPush", description, takes, errors);
        for folder in folders {
            self.start(parent, "Commit", folder.as_str(), takes, errors);
        }
        let snapshots =
            folders.iter().map(|folder| (*folder, candidate.list(*folder, true).cloned().collect())).collect();
        self.pending.push(Push { job: parent, snapshots });
        parent
    }

    fn start(&mut self, parent: u64, kind: &'static str, description: &str, takes: Duration, errors: &[String]) -> u64 {
        let id = self.by_id.last_key_value().map_or(1, |(id, _)| id + 1);
        let job = Job {
            id,
            parent,
            kind,
            description: description.to_owned(),
            started: Instant::now(),
            started_at: jiff::Timestamp::now(),
            takes,
            errors: errors.to_vec(),
        };
        self.by_id.insert(id, job);
        id
    }

    /// Lets what has finished run.
    fn settle(&mut self) {
        let now = Instant::now();
        let mut waiting = Vec::new();
        for push in std::mem::take(&mut self.pending) {
            match self.by_id.get(&push.job) {
                Some(job) if !job.finished(now) => waiting.push(push),
                Some(job) if job.errors.is_empty() => {
                    self.version += 1;
                    for (folder, objects) in push.snapshots {
                        let date = Some(jiff::Timestamp::now());
                        self.running.insert(folder, Running { version: self.version, date, objects });
                    }
                }
                _ => {}
            }
        }
        self.pending = waiting;
    }

    /// A job on the wire.
    pub(crate) fn job(&mut self, id: &str) -> Option<Value> {
        self.settle();
        Some(self.by_id.get(&id.parse().ok()?)?.wire(Instant::now()))
    }

    /// All jobs on the wire, the youngest first.
    pub(crate) fn all(&mut self) -> Vec<Value> {
        self.settle();
        let now = Instant::now();
        self.by_id.values().rev().map(|job| job.wire(now)).collect()
    }

    /// What runs, by folder.
    pub(crate) fn running(&mut self) -> &BTreeMap<Folder, Running> {
        self.settle();
        &self.running
    }

    /// What runs, on the wire.
    pub(crate) fn running_versions(&mut self) -> Vec<Value> {
        self.running()
            .iter()
            .map(|(folder, running)| {
                json!({
                    "device": folder.as_str(),
                    "version": running.version,
                    "date": running.date.map(|date| date.to_string()),
                })
            })
            .collect()
    }
}
