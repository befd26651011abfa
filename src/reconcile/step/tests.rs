//! The situations and what the rules make of them, printed into a file that reads as the specification.

mod situations;
mod stories;

use std::fmt::Write as _;

use situations::{known, situations};
use stories::stories;

use super::super::facts::*;
use super::*;
use crate::reconcile::golden;

#[test]
fn the_golden_table_says_what_the_rules_do() {
    let mut text = String::from(
        "What the operator does: the first rule that applies names the step.\n\
         Written by `make generate` from the rules in src/reconcile/step.rs.\n",
    );
    text.push_str("\n# The rules, in order\n");
    for (number, rule) in RULES.iter().enumerate() {
        writeln!(text, "{:>2}. {}", number + 1, rule.name).unwrap();
    }
    text.push_str("\n# Situations\n");
    text.push_str(&situations().render(RULES));
    text.push_str("\n# Passes\n\n");
    text.push_str(&stories());
    golden::check("tests/golden/steps.txt", &text);
}

#[test]
fn a_status_speaks_of_where_a_pass_ends_and_not_of_what_a_task_will_soon_have_answered() {
    for verdict in [Verdict::InOrder, Verdict::Suspended, Verdict::NameTaken, Verdict::Refused(Class::Server)] {
        assert!(verdict.is_recorded(), "{verdict:?}");
    }
    for verdict in [
        Verdict::List,
        Verdict::Token,
        Verdict::Permit,
        Verdict::Delay,
        Verdict::Kube,
        Verdict::Leader,
        Verdict::Released,
    ] {
        assert!(!verdict.is_recorded(), "{verdict:?}");
        assert_eq!(stop(&known(), verdict), Step::Done(verdict));
    }
}

#[test]
fn no_rule_can_be_dropped_without_changing_the_table() {
    let table = situations();
    let whole = table.render(RULES);
    let idle: Vec<&str> = (0..RULES.len())
        .filter(|dropped| {
            let rules: Vec<Rule> = RULES
                .iter()
                .enumerate()
                .filter(|(number, _)| number != dropped)
                .map(|(_, rule)| Rule { name: rule.name, decide: rule.decide })
                .collect();
            let steps = |text: &str| {
                text.lines().map(|line| line.split(" by: ").next().unwrap().to_owned()).collect::<Vec<_>>()
            };
            steps(&table.render(&rules)) == steps(&whole)
        })
        .map(|number| RULES[number].name)
        .collect();
    assert!(idle.is_empty(), "no situation shows what these rules are for: {idle:#?}");
}
