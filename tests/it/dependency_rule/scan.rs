//! What a source file names, found without a compiler: comments and texts are blanked, then paths are read off.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A file that the crate is made of.
#[derive(Debug)]
pub(super) struct Source {
    /// Its path from the repository's root.
    pub(super) file: String,
    /// The module that it is.
    pub(super) module: Vec<String>,
    /// Its text without comments, texts and what is compiled for tests only; line by line where it was.
    pub(super) code: String,
    /// How many lines are left of it, comments included.
    pub(super) lines: usize,
    /// It, or one above it, is compiled for tests only.
    pub(super) for_tests: bool,
    /// The modules declared in it.
    pub(super) children: BTreeSet<String>,
}

/// Something that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The line, from 1.
    pub(super) line: usize,
    /// What it is the name of.
    pub(super) path: Target,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Something of the crate, from its root.
    Ours(Vec<String>),
    /// Something else, as it is written.
    Other(Vec<String>),
}

/// The files that are reached from this one by `mod` lines, this one included.
pub(super) fn reached(repository: &Path, root: &str) -> Vec<Source> {
    let mut found = Vec::new();
    visit(repository, root, &[], false, &mut found);
    found
}

fn visit(repository: &Path, file: &str, module: &[String], for_tests: bool, found: &mut Vec<Source>) {
    let text = std::fs::read_to_string(repository.join(file)).unwrap();
    let (source, declared) = source(file, module, for_tests, &text);
    // The modules of a root stand beside it, those of `foo.rs` in `foo/`.
    let folder = if module.is_empty() { file.rsplit_once('/').unwrap().0 } else { file.strip_suffix(".rs").unwrap() };
    found.push(source);
    for (child, tests_alone) in declared {
        let path = format!("{folder}/{child}.rs");
        visit(repository, &path, &[module, &[child]].concat(), for_tests || tests_alone, found);
    }
}

/// The file of this text, and the modules that stand in files of their own, with whether they are for tests only.
pub(super) fn source(file: &str, module: &[String], for_tests: bool, text: &str) -> (Source, BTreeMap<String, bool>) {
    let blanked = blank(text);
    let (code, cut) = without_tests(&blanked);
    let mut children = BTreeSet::new();
    let mut declared = BTreeMap::new();
    for (tests_alone, code) in [(true, &blanked), (false, &code)] {
        for (name, in_file) in modules(code) {
            children.insert(name.clone());
            if in_file {
                declared.insert(name, tests_alone);
            }
        }
    }
    let lines = text.lines().count() - cut;
    let source = Source { file: file.to_owned(), module: module.to_vec(), code, lines, for_tests, children };
    (source, declared)
}

/// The text with comments, string and character literals turned into spaces, line by line as it was.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal ends that begins here; here itself, where none begins.
fn literal_end(chars: &[char], at: usize) -> usize {
    let is = |at: usize, wanted: char| chars.get(at) == Some(&wanted);
    let until = |from: usize, end: &dyn Fn(usize) -> bool| (from..chars.len()).find(|at| end(*at));
    if is(at, '/') && is(at + 1, '/') {
        return until(at, &|at| is(at, '\n')).unwrap_or(chars.len());
    }
    if is(at, '/') && is(at + 1, '*') {
        return until(at + 2, &|at| is(at, '*') && is(at + 1, '/')).map_or(chars.len(), |at| at + 2);
    }
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if is(at, 'r') && !in_word || is(at, 'r') && is(at.wrapping_sub(1), 'b') {
        let hashes = (at + 1..chars.len()).take_while(|at| is(*at, '#')).count();
        let open = at + 1 + hashes;
        if is(open, '"') {
            let closes = |at: usize| is(at, '"') && (1..=hashes).all(|more| is(at + more, '#'));
            return until(open + 1, &closes).map_or(chars.len(), |at| at + 1 + hashes);
        }
    }
    if is(at, '"') {
        let mut at = at + 1;
        while at < chars.len() && !is(at, '"') {
            at += if is(at, '\\') { 2 } else { 1 };
        }
        return (at + 1).min(chars.len());
    }
    if is(at, '\'') && is(at + 1, '\\') {
        return until(at + 3, &|at| is(at, '\'')).map_or(chars.len(), |at| at + 1);
    }
    // A lifetime has no closing quote.
    if is(at, '\'') && is(at + 2, '\'') { at + 3 } else { at }
}

/// The text without the items that stand under `#[cfg(test)]`, and how many lines those take.
fn without_tests(code: &str) -> (String, usize) {
    const MARK: &str = "#[cfg(test)]";
    let mut rest = code;
    let (mut out, mut cut) = (String::with_capacity(code.len()), 0);
    while let Some(at) = rest.find(MARK) {
        let (before, item) = rest.split_at(at);
        out.push_str(before);
        let end = item_end(item);
        let lines = item[..end].matches('\n').count();
        cut += lines + 1;
        out.push_str(&"\n".repeat(lines));
        rest = &item[end..];
    }
    out.push_str(rest);
    (out, cut)
}

/// Where the item ends that begins here: at its `;`, or at the brace that closes its body.
fn item_end(item: &str) -> usize {
    let mut depth = 0;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(c, ';' | '}') {
            return at + 1;
        }
    }
    item.len()
}

/// The modules that are declared, and whether each stands in a file of its own.
fn modules(code: &str) -> Vec<(String, bool)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for window in tokens.windows(3) {
        if let [(_, Token::Word("mod")), (_, Token::Word(name)), (_, Token::Sign(sign @ (';' | '{')))] = window {
            found.push(((*name).to_owned(), *sign == ';'));
        }
    }
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// `::`
    Step,
    Sign(char),
}

fn tokens(code: &str) -> Vec<(usize, Token<'_>)> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = if word > 0 {
                found.push((number + 1, Token::Word(&rest[..word])));
                word
            } else if rest.starts_with("::") {
                found.push((number + 1, Token::Step));
                2
            } else {
                if !first.is_whitespace() {
                    found.push((number + 1, Token::Sign(first)));
                }
                first.len_utf8()
            };
            rest = &rest[length..];
        }
    }
    found
}

impl Source {
    /// Every word of the code that is one of these, by line.
    pub(super) fn words(&self, wanted: &[&str]) -> Vec<(usize, String)> {
        let word = |(line, token)| match token {
            Token::Word(word) if wanted.contains(&word) => Some((line, word.to_owned())),
            _ => None,
        };
        tokens(&self.code).into_iter().filter_map(word).collect()
    }

    /// Everything that the code names by a path, `use` lines included.
    pub(super) fn names(&self) -> Vec<Named> {
        let paths = self.paths().into_iter().filter(|(in_use, _, path)| path[0] != "as" && (*in_use || path.len() > 1));
        paths.map(|(_, line, path)| Named { line, path: self.resolve(path) }).collect()
    }

    /// The names that `use` lines bind in this file.
    pub(super) fn bound(&self) -> BTreeSet<String> {
        let paths = self.paths().into_iter().filter(|(in_use, _, path)| *in_use && path.len() > 1);
        paths.filter_map(|(_, _, path)| path.into_iter().rfind(|part| part != "self")).collect()
    }

    /// Every path as it is written, its line, and whether it stands in a `use` line.
    fn paths(&self) -> Vec<(bool, usize, Vec<String>)> {
        let tokens = tokens(&self.code);
        let mut all = Vec::new();
        let (mut at, mut in_use) = (0, false);
        while at < tokens.len() {
            match tokens[at].1 {
                Token::Word("use") => in_use = true,
                Token::Sign(';') => in_use = false,
                Token::Word(_) => {
                    // What follows `<T as Trait>::` is no path of its own; what follows a lone `::` is.
                    let follows = at > 1 && tokens[at - 1].1 == Token::Step;
                    let follows = follows && matches!(tokens[at - 2].1, Token::Sign('>') | Token::Word(_));
                    let mut found = Vec::new();
                    at = path(&tokens, at, &[], &mut found);
                    if !follows {
                        all.extend(found.into_iter().map(|(line, path)| (in_use, line, path)));
                    }
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        all
    }

    fn resolve(&self, mut path: Vec<String>) -> Target {
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let ups = path.iter().take_while(|part| *part == "super").count();
        let rest = |from: usize| path[from..].to_vec();
        match path[0].as_str() {
            "crate" | "mfa_operator" => Target::Ours(rest(1)),
            "self" => Target::Ours([self.module.clone(), rest(1)].concat()),
            "super" => {
                let above = self.module.len().saturating_sub(ups);
                Target::Ours([self.module[..above].to_vec(), rest(ups)].concat())
            }
            child if self.children.contains(child) => Target::Ours([self.module.clone(), rest(0)].concat()),
            _ => Target::Other(path),
        }
    }
}

/// Reads the path that begins here, its groups in braces taken apart; answers where it ends. A new name that it
/// gets is found as a path `as::name`.
fn path(
    tokens: &[(usize, Token<'_>)],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let line = tokens[at].0;
    let mut path = prefix.to_vec();
    while let Some((_, token)) = tokens.get(at) {
        match token {
            Token::Word(word) => path.push((*word).to_owned()),
            Token::Sign('*') if tokens[at - 1].1 == Token::Step => path.push("*".to_owned()),
            Token::Sign('{') => {
                at += 1;
                while let Some((_, token)) = tokens.get(at) {
                    match token {
                        Token::Sign('}') => return at + 1,
                        Token::Word(_) | Token::Sign('{') => at = self::path(tokens, at, &path, found),
                        _ => at += 1,
                    }
                }
                return at;
            }
            _ => break,
        }
        at += 1;
        match (tokens.get(at), tokens.get(at + 1)) {
            (Some((_, Token::Step)), Some((_, Token::Word(_) | Token::Sign('{' | '*')))) => at += 1,
            _ => break,
        }
    }
    found.push((line, path));
    if let Some((line, Token::Word("as"))) = tokens.get(at)
        && let Some((_, Token::Word(alias))) = tokens.get(at + 1)
    {
        found.push((*line, vec!["as".to_owned(), (*alias).to_owned()]));
        at += 2;
    }
    at
}
