use super::*;

fn part(ids: std::ops::Range<u64>, total: Option<u64>) -> Part<()> {
    let items = ids.map(|id| (id.to_string(), ())).collect();
    Part { items, dropped: 0, total, limit: None, bare: total.is_none() }
}

/// Reads a list from a server that is a function of (offset, limit).
fn read(limit: u64, server: impl Fn(u64, u64) -> Part<()>) -> (Next, usize, u32) {
    let mut assembly = Assembly::new(limit);
    let mut next = assembly.first();
    while let Next::Page { offset, limit } = next {
        next = assembly.push(server(offset, limit));
    }
    let pages = assembly.pages;
    (next, assembly.into_items().len(), pages)
}

#[test]
fn pages_are_read_until_total_is_reached() {
    let (end, items, pages) = read(2, |at, limit| part(at..(at + limit).min(5), Some(5)));
    assert_eq!((end, items, pages), (Next::Complete, 5, 3));
}

#[test]
fn without_a_total_a_short_page_ends_the_list() {
    let (end, items, pages) = read(2, |at, limit| part(at..(at + limit).min(5), None));
    assert_eq!((end, items, pages), (Next::Complete, 5, 3));
    let (end, items, pages) = read(2, |at, limit| part(at..(at + limit).min(4), None));
    assert_eq!((end, items, pages), (Next::Complete, 4, 3));
    assert_eq!(read(2, |_, _| part(0..0, None)), (Next::Complete, 0, 1));
}

#[test]
fn a_server_without_pages_sends_all_at_once() {
    for count in [1, 2, 3, 5] {
        let (end, items, _) = read(2, |_, _| part(0..count, None));
        assert_eq!((end, items), (Next::Complete, usize::try_from(count).unwrap()), "{count} items");
    }
}

#[test]
fn whether_a_server_knows_limits_is_asked_with_one_less() {
    let asked = std::cell::RefCell::new(Vec::new());
    let server = |at, limit| {
        asked.borrow_mut().push((at, limit));
        part(0..2, None)
    };
    assert_eq!(read(2, server).0, Next::Complete);
    assert_eq!(*asked.borrow(), [(0, 2), (2, 2), (0, 1)]);
}

#[test]
fn an_item_that_could_not_be_decoded_counts_and_keeps_the_list_from_proving_absence() {
    let server = |total| move |at: u64, limit: u64| Part { dropped: 1, ..part(at + 1..(at + limit).min(5), total) };
    assert_eq!(read(2, server(Some(5))), (Next::Incomplete, 2, 3));
    assert_eq!(read(2, server(None)), (Next::Incomplete, 2, 3));
    assert_eq!(read(9, server(Some(5))), (Next::Incomplete, 4, 1));
    let unpaged = |_, _| Part { dropped: 1, ..part(0..1, None) };
    assert_eq!(read(2, unpaged), (Next::Incomplete, 1, 3));
}

#[test]
fn what_cannot_be_decoded_is_not_taken_for_what_was_seen_before() {
    // Found by feeding rubbish: an item was readable on one page, and in its place stood something else on another.
    let garbled = || Part { dropped: 1, ..part(0..1, None) };
    let at = |page: u32| {
        let asked = std::cell::Cell::new(0);
        read(2, move |_, _| {
            asked.set(asked.get() + 1);
            if asked.get() == page { garbled() } else { part(0..2, None) }
        })
    };
    assert_eq!(at(9), (Next::Complete, 2, 3));
    assert_eq!(at(3), (Next::Incomplete, 2, 3));
    assert_eq!(at(2), (Next::Incomplete, 2, 2));
}

#[test]
fn a_page_that_shows_nothing_is_not_asked_for_again_and_again() {
    // Found by feeding rubbish: a server that knows no pages, and whose items cannot be decoded, was asked a thousand times.
    let unreadable = |_, _| Part { dropped: 2, bare: false, ..part(0..0, None) };
    assert_eq!(read(2, unreadable), (Next::Incomplete, 0, 2));
}

#[test]
fn a_smaller_limit_of_the_server_is_respected() {
    let server = |at: u64, _| Part { limit: Some(2), bare: false, ..part(at..(at + 2).min(5), None) };
    assert_eq!(read(200, server), (Next::Complete, 5, 3));
    let none = |_, _| Part { limit: Some(0), bare: false, ..part(0..1, None) };
    assert_eq!(read(2, none), (Next::Complete, 1, 1), "a limit of nothing is none");
}

#[test]
fn what_comes_without_pages_is_all_unless_it_says_otherwise() {
    let whole = |part| Assembly::new(2).push_whole(part);
    assert_eq!(whole(part(0..5, None)), Next::Complete);
    assert_eq!(whole(part(0..5, Some(5))), Next::Complete);
    assert_eq!(whole(part(0..5, Some(9))), Next::Incomplete);
    assert_eq!(whole(Part { dropped: 1, ..part(0..5, None) }), Next::Incomplete);
    let mut twice = part(0..2, None);
    twice.items.extend(part(0..1, None).items);
    assert_eq!(whole(twice), Next::Incomplete);
}

#[test]
fn a_list_that_loops_is_incomplete() {
    assert_eq!(read(2, |_, limit| part(0..limit, None)).0, Next::Incomplete);
    assert_eq!(read(2, |_, limit| part(0..limit, Some(9))).0, Next::Incomplete);
    assert_eq!(read(2, |_, limit| Part { bare: false, ..part(0..limit, None) }).0, Next::Incomplete);
}

#[test]
fn a_list_that_never_ends_is_incomplete() {
    let (end, _, pages) = read(2, |at, limit| part(at..at + limit, None));
    assert_eq!((end, pages), (Next::Incomplete, MOST_PAGES));
}

#[test]
fn a_list_that_shrinks_or_grows_while_paged_is_incomplete() {
    let shrinks = |at: u64, limit: u64| part(at..(at + limit).min(5), Some(if at == 0 { 5 } else { 4 }));
    assert_eq!(read(2, shrinks).0, Next::Incomplete);
    // The total held, and an item fell out between two pages.
    let (end, _, pages) = read(2, |at, _| if at == 0 { part(0..2, Some(3)) } else { part(0..0, Some(3)) });
    assert_eq!((end, pages), (Next::Incomplete, 2));
    assert_eq!(read(2, |_, _| part(0..2, Some(1))).0, Next::Incomplete);
}

fn inventory() -> Inventory<String> {
    Inventory::new(|name| name)
}

fn items(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect()
}

#[test]
fn an_own_write_wins_over_a_list_that_began_before_it_ended() {
    let mut inventory = inventory();
    inventory.take_write(Mark(5), Write::Put("1".into(), "a".into()));
    inventory.take_write(Mark(6), Write::Deleted("2".into()));
    inventory.take_list(Mark(4), items(&[("2", "b")]), true);
    assert!(inventory.by_id("1").is_some());
    assert!(inventory.by_id("2").is_none());
    assert_eq!(inventory.by_name("a").count(), 1);
    assert_eq!(inventory.by_name("b").count(), 0);
}

#[test]
fn a_list_that_began_after_it_wins_over_an_own_write() {
    let mut inventory = inventory();
    inventory.take_write(Mark(5), Write::Put("1".into(), "a".into()));
    inventory.take_list(Mark(6), items(&[("2", "b")]), true);
    assert!(inventory.by_id("1").is_none());
    assert_eq!(inventory.by_name("b").map(|(id, _)| id).collect::<Vec<_>>(), ["2"]);
}

#[test]
fn an_incomplete_list_takes_nothing_away() {
    let mut inventory = inventory();
    inventory.take_list(Mark(1), items(&[("1", "a")]), true);
    inventory.take_list(Mark(2), items(&[("2", "b")]), false);
    assert!(inventory.by_id("1").is_some() && inventory.by_id("2").is_some());
    assert_eq!(inventory.listed(), Some(Listed { begun: Mark(2), complete: false }));
}

#[test]
fn what_an_incomplete_list_does_not_show_is_known_from_before() {
    let shown = |inventory: &Inventory<String>| ["1", "2", "3"].map(|id| inventory.is_shown(id));
    let mut inventory = inventory();
    inventory.take_list(Mark(1), items(&[("1", "a"), ("2", "b")]), true);
    assert_eq!(shown(&inventory), [true, true, false]);
    let before = inventory.clone();
    inventory.take_list(Mark(2), items(&[("2", "b"), ("3", "c")]), false);
    assert_eq!(shown(&inventory), [false, true, true]);
    inventory.take_list(Mark(2), items(&[("3", "c")]), false);
    assert_eq!(shown(&inventory), [false, false, true]);
    inventory.take_write(Mark(3), Write::Put("1".into(), "a".into()));
    assert_eq!(shown(&inventory), [true, false, true]);
    inventory.take_list(Mark(2), items(&[("2", "b")]), false);
    assert_eq!(shown(&inventory), [true, true, false], "written after that list began");
    inventory.take_list(Mark(4), items(&[("1", "a"), ("2", "b")]), true);
    assert_eq!(shown(&inventory), [true, true, false]);
    let mut other = before.clone();
    other.take_list(Mark(1), items(&[("1", "a")]), false);
    let mut one = before.clone();
    one.take_list(Mark(1), items(&[("2", "b")]), false);
    assert!(one != other && hash_of(&one) != hash_of(&other), "what is shown is part of what is known");
}

#[test]
fn writes_of_one_object_are_remembered_as_one_and_the_last_one_counts() {
    let mut inventory = inventory();
    for mark in 1..100 {
        inventory.take_write(Mark(mark), Write::Deleted("1".into()));
    }
    assert_eq!(inventory.writes.len(), 1);
    inventory.take_write(Mark(100), Write::Put("1".into(), "a".into()));
    inventory.take_list(Mark(50), Vec::<(String, String)>::new(), true);
    assert!(inventory.by_id("1").is_some(), "written after that list began");
    inventory.take_list(Mark(101), Vec::<(String, String)>::new(), true);
    assert!(inventory.by_id("1").is_none());
}

#[test]
fn a_write_that_ended_before_a_list_began_is_forgotten_with_it() {
    let mut inventory = inventory();
    inventory.take_write(Mark(5), Write::Put("1".into(), "a".into()));
    inventory.take_list(Mark(5), Vec::<(String, String)>::new(), true);
    assert!(inventory.is_empty());
    assert_eq!(inventory.listed(), Some(Listed { begun: Mark(5), complete: true }));
    inventory.take_list(Mark(4), Vec::<(String, String)>::new(), true);
    assert!(inventory.is_empty(), "an older list does not bring it back");
}

#[test]
fn a_name_knows_its_ids_in_order_and_once_and_a_renamed_item_has_left_it() {
    let ids = |inventory: &Inventory<String>, name: &str| -> Vec<String> {
        inventory.by_name(name).map(|(id, _)| id.to_owned()).collect()
    };
    let mut inventory = inventory();
    let many: Vec<String> = (10..30).map(|id| id.to_string()).collect();
    inventory.take_list(Mark(1), many.iter().rev().map(|id| (id.clone(), "a".to_owned())).collect(), true);
    assert_eq!(ids(&inventory, "a"), many);
    inventory.take_list(Mark(1), items(&[("2", "a"), ("3", "b"), ("1", "a")]), true);
    assert_eq!((inventory.len(), inventory.is_empty()), (3, false));
    assert_eq!(ids(&inventory, "a"), ["1", "2"]);
    inventory.take_write(Mark(2), Write::Put("3".into(), "a".into()));
    inventory.take_write(Mark(3), Write::Put("3".into(), "a".into()));
    assert_eq!((ids(&inventory, "a"), ids(&inventory, "b")), (vec!["1".into(), "2".into(), "3".into()], vec![]));
    inventory.take_write(Mark(4), Write::Deleted("1".into()));
    assert_eq!((ids(&inventory, "a"), inventory.len()), (vec!["2".into(), "3".into()], 2));
}

#[test]
fn a_list_answers_what_was_asked_before_it_began() {
    let mut inventory = inventory();
    assert_eq!(inventory.answer(Mark(0)), None);
    inventory.take_list(Mark(5), items(&[]), true);
    let listed = Some(Listed { begun: Mark(5), complete: true });
    assert_eq!([3, 4, 5, 6].map(|mark| inventory.answer(Mark(mark))), [listed, listed, None, None]);
}

fn hash_of(inventory: &Inventory<String>) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    inventory.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn inventories_are_equal_that_answer_alike() {
    let put = |id: &str, name: &str| Write::Put(id.to_owned(), name.to_owned());
    let listing = |mark, list: &[(&str, &str)], complete| {
        let mut inventory = inventory();
        inventory.take_list(Mark(mark), items(list), complete);
        inventory
    };
    let both = &[("1", "a"), ("2", "a")];
    let one = listing(1, both, true);
    assert!(one == listing(1, both, true) && hash_of(&one) == hash_of(&listing(1, both, true)));
    for other in [
        listing(1, &[("1", "a"), ("2", "b")], true),
        listing(1, &[("1", "a")], true),
        listing(2, both, true),
        listing(1, both, false),
    ] {
        assert!(one != other && hash_of(&one) != hash_of(&other), "{other:?}");
    }
    let written = |mark, mut inventory: Inventory<String>| {
        inventory.take_write(Mark(mark), put("1", "a"));
        inventory
    };
    let wrote = written(2, one.clone());
    assert!(wrote != one && wrote != written(3, one.clone()) && wrote == written(2, listing(1, both, true)));
    // The same items and the same write, and the other one is shown first.
    let other = written(2, listing(1, &[("2", "a")], true));
    assert!(wrote != other && hash_of(&wrote) != hash_of(&other));
}

#[test]
fn every_point_in_the_order_of_calls_can_be_numbered_anew() {
    let mut inventory = inventory();
    assert_eq!(inventory.marks().count(), 0);
    inventory.take_list(Mark(4), items(&[("1", "a")]), true);
    inventory.take_write(Mark(6), Write::Deleted("2".into()));
    assert_eq!(inventory.marks().map(|mark| mark.0).collect::<Vec<_>>(), [6, 4]);
    for mark in inventory.marks() {
        mark.0 -= 3;
    }
    assert_eq!(inventory.answer(Mark(0)), Some(Listed { begun: Mark(1), complete: true }));
    inventory.take_list(Mark(2), items(&[("2", "a")]), true);
    assert!(inventory.is_empty(), "the write came after that");
    inventory.take_list(Mark(3), items(&[("2", "a")]), true);
    assert_eq!(inventory.len(), 1);
}

#[test]
fn a_deleted_name_is_free_at_once() {
    let mut inventory = inventory();
    inventory.take_list(Mark(1), items(&[("1", "a")]), true);
    inventory.take_write(Mark(2), Write::Deleted("1".into()));
    assert_eq!(inventory.by_name("a").count(), 0);
    assert!(inventory.is_empty());
}
