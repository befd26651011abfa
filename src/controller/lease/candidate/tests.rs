use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn just_before(time: Duration) -> Duration {
    time.saturating_sub(Duration::from_millis(1))
}

fn record(version: &str, holder: Option<&str>) -> Record {
    Record { version: version.to_owned(), holder: holder.map(str::to_owned), duration: Some(s(15)) }
}

/// A candidate `me` that saw this at that time.
fn seeing(seen: Option<Record>, now: Duration) -> Candidate {
    let mut candidate = Candidate::new("me".to_owned(), Timing::default());
    assert_eq!(candidate.next(now), Move::Look);
    candidate.looks(now);
    candidate.saw(seen, now);
    candidate
}

/// One that leads since that time.
fn leading(since: Duration) -> Candidate {
    let mut candidate = seeing(None, since);
    candidate.writes(since);
    candidate.wrote(record("1", Some("me")), since);
    candidate
}

#[test]
fn a_lease_that_is_not_there_or_was_released_is_taken_at_once() {
    assert_eq!(seeing(None, s(100)).next(s(100)), Move::Acquire);
    assert_eq!(seeing(Some(record("1", None)), s(100)).next(s(100)), Move::Acquire);
    // Also by one that has just tried and lost.
    let mut candidate = seeing(Some(record("1", None)), s(100));
    candidate.writes(s(100));
    candidate.refused();
    assert_eq!(candidate.next(s(100)), Move::Look);
    candidate.looks(s(100));
    candidate.saw(Some(record("2", Some("other"))), s(100));
    assert_eq!(candidate.next(s(100)), Move::Wait(s(115)));
    candidate.saw(Some(record("3", None)), s(101));
    assert_eq!(candidate.next(s(101)), Move::Acquire);
}

#[test]
fn a_lease_of_another_is_taken_when_it_has_not_changed_for_its_duration() {
    let mut candidate = seeing(Some(record("1", Some("other"))), s(100));
    assert_eq!(candidate.next(s(100)), Move::Wait(s(115)));
    candidate.saw(Some(record("1", Some("other"))), s(107));
    assert_eq!(candidate.next(s(107)), Move::Wait(s(115)), "the same is no change");
    candidate.saw(Some(record("2", Some("other"))), s(110));
    assert_eq!(candidate.next(just_before(s(125))), Move::Wait(s(125)));
    assert_eq!(candidate.next(s(125)), Move::Acquire);
}

#[test]
fn the_duration_is_the_one_that_the_holder_asks_for() {
    let with = |duration| seeing(Some(Record { duration, ..record("1", Some("other")) }), s(100));
    assert_eq!(with(Some(s(60))).next(s(100)), Move::Wait(s(160)));
    assert_eq!(with(None).next(s(100)), Move::Wait(s(115)), "ours, if it does not say");
    assert!(matches!(with(Some(Duration::MAX)).next(s(100)), Move::Wait(_)));
}

#[test]
fn whoever_loses_looks_at_once_and_whoever_gets_no_answer_after_a_while() {
    let mut candidate = seeing(Some(record("1", None)), s(100));
    candidate.writes(s(100));
    assert_eq!(candidate.next(s(100)), Move::Wait(s(102)), "the answer may be lost, and the lease ours");
    candidate.refused();
    assert_eq!(candidate.next(s(100)), Move::Look);
    // A refusal that changed nothing does not make a tight loop.
    candidate.looks(s(100));
    candidate.saw(Some(record("1", None)), s(100));
    assert_eq!(candidate.next(s(100)), Move::Wait(s(102)));
}

#[test]
fn a_lease_that_is_ours_by_a_lost_answer_is_written_again_before_we_lead() {
    let mut candidate = seeing(Some(record("1", None)), s(100));
    candidate.writes(s(100));
    candidate.looks(s(102));
    candidate.saw(Some(record("2", Some("me"))), s(102));
    assert_eq!(candidate.may_write_until(), None);
    assert_eq!(candidate.next(s(102)), Move::Acquire);
    candidate.writes(s(102));
    candidate.wrote(record("3", Some("me")), s(102));
    assert_eq!(candidate.may_write_until(), Some(s(112)));
}

#[test]
fn the_leader_renews_and_may_write_until_ten_seconds_after_the_last_renewal_that_succeeded() {
    let mut candidate = leading(s(100));
    assert_eq!(candidate.next(s(100)), Move::Wait(s(102)));
    assert_eq!(candidate.next(s(102)), Move::Renew);
    candidate.writes(s(102));
    // Its answer comes late: what counts is when it was sent.
    candidate.wrote(record("2", Some("me")), s(102));
    assert_eq!(candidate.may_write_until(), Some(s(112)));
    assert_eq!(candidate.next(s(106)), Move::Renew);
    // From here on there is no answer any more.
    candidate.writes(s(106));
    assert_eq!(candidate.next(s(107)), Move::Wait(s(108)));
    assert_eq!(candidate.next(just_before(s(112))), Move::Look);
    candidate.looks(s(111));
    assert_eq!(candidate.next(just_before(s(112))), Move::Wait(s(112)));
    assert_eq!(candidate.next(s(112)), Move::Lost(Loss::RanOut));
}

#[test]
fn the_leader_stops_when_it_sees_the_lease_in_another_hand() {
    for (seen, holder) in
        [(Some(record("9", Some("other"))), Some("other")), (Some(record("9", None)), None), (None, None)]
    {
        let mut candidate = leading(s(100));
        candidate.writes(s(102));
        candidate.refused();
        assert_eq!(candidate.next(s(102)), Move::Look);
        candidate.looks(s(102));
        candidate.saw(seen, s(102));
        assert_eq!(candidate.next(s(102)), Move::Lost(Loss::Taken(holder.map(str::to_owned))));
    }
}

#[test]
fn a_lease_that_is_deleted_while_another_held_it_is_left_alone_for_its_time() {
    let mut candidate = seeing(Some(record("1", Some("other"))), s(100));
    candidate.saw(None, s(103));
    assert_eq!(candidate.next(s(103)), Move::Wait(s(115)));
    assert_eq!(candidate.next(s(115)), Move::Acquire);
}

// ---- several processes, one API server, and everything that may go wrong between them -------------------------------

/// The choices of one run; when they have run out, nothing goes wrong any more.
struct Tape<'a>(std::slice::Iter<'a, u16>);

impl Tape<'_> {
    /// Below `of`; zero is the harmless choice.
    fn pick(&mut self, of: u16) -> u16 {
        self.0.next().map_or(0, |choice| choice % of)
    }

    fn once_in(&mut self, of: u16) -> bool {
        self.pick(of) == of - 1
    }

    /// Mostly none, at times as long as a whole election.
    fn delay(&mut self) -> u64 {
        match self.pick(8) {
            0..=3 => 0,
            4 | 5 => u64::from(self.pick(8)),
            6 => u64::from(self.pick(24)),
            _ => u64::from(self.pick(160)),
        }
    }
}

/// The length of a tick.
const TICK: Duration = Duration::from_millis(250);
const PROCESSES: usize = 3;
const TICKS: u64 = 480;

struct Process {
    candidate: Candidate,
    /// Its clock's zero, in ticks before the world's.
    offset: u64,
    /// The request whose answer it waits for: its number, what it is, and when it was sent by its own clock.
    waits: Option<(usize, bool, Duration)>,
    frozen_until: u64,
    stopping: bool,
}

#[derive(Clone)]
enum Request {
    Look,
    Write { version: Option<String>, holder: Option<String> },
}

#[derive(Clone)]
enum Answer {
    Seen(Option<Record>),
    Wrote(Record),
    Refused,
}

struct Flight {
    number: usize,
    process: usize,
    arrives: u64,
    request: Request,
}

#[derive(Default)]
struct World {
    now: u64,
    number: usize,
    versions: u64,
    lease: Option<Record>,
    /// What a watch may show at present, the newest first.
    history: VecDeque<Record>,
    flights: Vec<Flight>,
    /// Number, process, when, and what.
    answers: Vec<(usize, usize, u64, Answer)>,
    processes: Vec<Process>,
    born: usize,
}

impl World {
    fn new(tape: &mut Tape<'_>) -> Self {
        let mut world = Self::default();
        for _ in 0..PROCESSES {
            let process = world.process(tape);
            world.processes.push(process);
        }
        world
    }

    fn process(&mut self, tape: &mut Tape<'_>) -> Process {
        self.born += 1;
        let candidate = Candidate::new(format!("p{}", self.born), Timing::default());
        let offset = u64::from(tape.pick(40_000));
        Process { candidate, offset, waits: None, frozen_until: 0, stopping: false }
    }

    fn clock(&self, process: &Process) -> Duration {
        TICK * u32::try_from(self.now + process.offset).unwrap()
    }

    /// How many may write to the tenant at this moment: by their clocks, frozen or not.
    fn writers(&self) -> usize {
        let may_write =
            |process: &&Process| process.candidate.may_write_until().is_some_and(|until| self.clock(process) < until);
        self.processes.iter().filter(may_write).count()
    }

    /// The API server does what the request asks for, if the version is the one it was made for.
    fn serve(&mut self, request: Request) -> Answer {
        let Request::Write { version, holder } = request else { return Answer::Seen(self.lease.clone()) };
        if version != self.lease.as_ref().map(|lease| lease.version.clone()) {
            return Answer::Refused;
        }
        self.versions += 1;
        let lease = Record { version: self.versions.to_string(), holder, duration: Some(s(15)) };
        self.history.push_front(lease.clone());
        self.history.truncate(8);
        self.lease = Some(lease.clone());
        Answer::Wrote(lease)
    }

    fn network(&mut self, tape: &mut Tape<'_>) {
        let mut index = 0;
        while index < self.flights.len() {
            if self.flights[index].arrives > self.now {
                index += 1;
                continue;
            }
            let flight = self.flights.remove(index);
            let answer = self.serve(flight.request);
            if !tape.once_in(6) {
                let arrives = self.now + tape.delay();
                self.answers.push((flight.number, flight.process, arrives, answer));
            }
        }
    }

    fn send(&mut self, of: usize, request: Request, tape: &mut Tape<'_>) {
        self.number += 1;
        let sent = self.clock(&self.processes[of]);
        let writes = matches!(request, Request::Write { .. });
        self.processes[of].waits = Some((self.number, writes, sent));
        if !tape.once_in(12) {
            let arrives = self.now + tape.delay();
            self.flights.push(Flight { number: self.number, process: of, arrives, request });
        }
    }

    /// One process lives for one tick.
    fn live(&mut self, of: usize, tape: &mut Tape<'_>) {
        if tape.once_in(200) {
            // Killed; another starts in its place.
            self.processes[of] = self.process(tape);
            return;
        }
        if tape.once_in(40) {
            self.processes[of].frozen_until = self.now + u64::from(tape.pick(100));
        }
        if self.processes[of].frozen_until > self.now {
            return;
        }
        let now = self.clock(&self.processes[of]);
        if let Some((number, writes, sent)) = self.processes[of].waits {
            let mine = |answer: &(usize, usize, u64, Answer)| answer.0 == number && answer.2 <= self.now;
            let process = &mut self.processes[of];
            if let Some(index) = self.answers.iter().position(mine) {
                process.waits = None;
                match self.answers.remove(index).3 {
                    Answer::Seen(seen) => process.candidate.saw(seen, now),
                    Answer::Wrote(_) if process.stopping => {
                        self.processes[of] = self.process(tape);
                        return;
                    }
                    Answer::Wrote(record) => process.candidate.wrote(record, sent),
                    Answer::Refused if writes => process.candidate.refused(),
                    Answer::Refused => {}
                }
            } else if now >= sent + s(5) || process.candidate.may_write_until().is_some_and(|until| now >= until) {
                process.waits = None;
            } else {
                return;
            }
        } else if self.processes[of].candidate.may_write_until().is_none() && tape.pick(3) != 2 {
            // The watch of a standby, which may lag behind.
            let back = usize::from(tape.pick(4)).min(self.history.len().saturating_sub(1));
            if let Some(seen) = self.history.get(back).cloned() {
                self.processes[of].candidate.saw(Some(seen), now);
            }
        }
        let process = &mut self.processes[of];
        if process.candidate.may_write_until().is_some() && tape.once_in(80) {
            process.candidate.resign();
            process.stopping = true;
        }
        let version = process.candidate.seen.as_ref().map(|seen| seen.version.clone());
        if process.stopping {
            if process.candidate.is_certain() && process.candidate.is_ours() {
                process.candidate.writes(now);
                return self.send(of, Request::Write { version, holder: None }, tape);
            }
            self.processes[of] = self.process(tape);
            return;
        }
        let holder = Some(process.candidate.identity.clone());
        match process.candidate.next(now) {
            Move::Look => {
                process.candidate.looks(now);
                self.send(of, Request::Look, tape);
            }
            Move::Acquire | Move::Renew => {
                process.candidate.writes(now);
                self.send(of, Request::Write { version, holder }, tape);
            }
            Move::Wait(until) => assert!(until > now, "a wait that is over already"),
            Move::Lost(_) => self.processes[of] = self.process(tape),
        }
    }

    fn tick(&mut self, tape: &mut Tape<'_>) {
        self.network(tape);
        let first = usize::from(tape.pick(3));
        for turn in 0..PROCESSES {
            self.live((first + turn) % PROCESSES, tape);
            assert!(self.writers() <= 1, "two processes may write at tick {}", self.now);
        }
        self.now += 1;
        assert!(self.writers() <= 1, "two processes may write at tick {}", self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Requests and answers are delayed, lost and overtaken, watches lag, processes freeze, die and hand over.
    #[test]
    fn never_may_two_write_at_once_and_in_quiet_times_one_does(choices in vec(any::<u16>(), 0..9000)) {
        let mut tape = Tape(choices.iter());
        let mut world = World::new(&mut tape);
        for _ in 0..TICKS {
            world.tick(&mut tape);
        }
        // Everything works from here on: one leads within the lease's duration, a try and what is still on its way.
        let mut quiet = Tape([].iter());
        for _ in 0..4 * (15 + 2 + 40) {
            world.tick(&mut quiet);
        }
        prop_assert_eq!(world.writers(), 1);
    }

    /// However the clocks are set, a candidate waits for the duration since it saw the last change, and no longer.
    #[test]
    fn an_expired_lease_is_taken_after_its_duration_by_the_watchers_own_clock(
        begin in 0_u64..1_000_000_000, changes in vec(1_u64..15_000, 0..20), duration in 1_u64..100_000,
    ) {
        let ms = Duration::from_millis;
        let record = |version: usize| {
            let holder = Some("other".to_owned());
            Some(Record { version: version.to_string(), holder, duration: Some(ms(duration)) })
        };
        let mut now = ms(begin);
        let mut candidate = Candidate::new("me".to_owned(), Timing::default());
        candidate.saw(record(0), now);
        for (version, after) in changes.iter().enumerate() {
            let until = now + ms(duration);
            now += ms(*after);
            let expected = if now < until { Move::Wait(until) } else { Move::Acquire };
            prop_assert_eq!(candidate.next(now), expected);
            candidate.saw(record(version + 1), now);
        }
        prop_assert_eq!(candidate.next(just_before(now + ms(duration))), Move::Wait(now + ms(duration)));
        prop_assert_eq!(candidate.next(now + ms(duration)), Move::Acquire);
    }
}

#[test]
fn whoever_resigns_may_not_write_and_whoever_awaits_an_answer_is_not_certain() {
    let mut candidate = leading(s(100));
    assert!(candidate.is_certain());
    assert_eq!(candidate.may_write_until(), Some(s(110)));
    candidate.writes(s(102));
    assert!(!candidate.is_certain());
    candidate.resign();
    assert_eq!(candidate.may_write_until(), None);
}

#[test]
fn a_candidate_that_is_set_back_goes_on_alike_and_forgets_what_is_over() {
    let mut candidate = seeing(Some(record("1", Some("other"))), s(100));
    // It looks again from 102 on, and the lease is free at 115.
    candidate.set_back(s(61), s(40));
    assert_eq!((candidate.look_at, candidate.free_at, candidate.write_at), (s(41), s(54), Duration::ZERO));
    assert_eq!(candidate.next(s(40)), Move::Wait(s(54)));
    candidate.set_back(s(1), s(40));
    assert_eq!(candidate.look_at, Duration::ZERO, "it is over");
    let mut candidate = leading(s(100));
    candidate.set_back(s(60), s(41));
    assert_eq!((candidate.may_write_until(), candidate.next(s(41))), (Some(s(50)), Move::Wait(s(42))));
    candidate.set_back(s(20), s(41));
    assert_eq!(candidate.next(s(41)), Move::Lost(Loss::RanOut), "no more than over");
}

#[test]
fn the_version_that_was_seen_can_be_numbered_anew() {
    let mut candidate = seeing(Some(record("17", None)), s(100));
    *candidate.seen_version().unwrap() = "1".to_owned();
    assert_eq!(candidate, { seeing(Some(record("1", None)), s(100)) });
    assert_eq!(seeing(None, s(100)).seen_version(), None);
}
