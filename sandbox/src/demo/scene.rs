//! The stage: what runs, what is printed, and kubectl.

use std::{io::Write, process::Stdio, time::Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{Error, LIMIT, Options, Result, operator::Operator, table::table};
use crate::{
    control_plane::ControlPlane,
    simulator::{Options as SimulatorOptions, Simulator, TenantHandle, TenantOptions},
};

/// The tenant, and who may change it.
const TENANT: &str = "1234567890";
const CLIENT_ID: &str = "mfa-operator@1234567890.iam.panserviceaccount.com";
/// What a call of the API takes.
const LATENCY_MS: u64 = 5;
/// How long the lines of a command may be.
const WIDTH: usize = 100;

/// All that runs, and where its doings are told.
// Fields are dropped in this order: the operator first.
pub(super) struct Scene<'a> {
    pub(super) operator: Option<Operator>,
    control_plane: ControlPlane,
    pub(super) simulator: Simulator,
    pub(super) options: &'a Options,
    out: &'a mut dyn Write,
    begin: Instant,
    steps: u32,
}

/// What kubectl answered.
pub(super) struct Answer {
    pub(super) ok: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl<'a> Scene<'a> {
    /// Starts the control plane and the simulator.
    pub(super) async fn set(options: &'a Options, out: &'a mut dyn Write) -> Result<Self> {
        if !options.operator.is_file() {
            return Err(Error::FindOperator { path: options.operator.clone() });
        }
        let begin = Instant::now();
        writeln!(out, "Starting etcd, kube-apiserver and the simulated tenant, all on this machine.")?;
        out.flush()?;
        let control_plane = match &options.binaries {
            Some(folder) => ControlPlane::start_in(folder).await?,
            None => ControlPlane::start().await?,
        };
        let tenant = TenantOptions {
            latency_ms: LATENCY_MS,
            ..TenantOptions::with_service_account(CLIENT_ID, &options.secrets.client_secret)
        };
        let simulator =
            Simulator::start(SimulatorOptions::default().tenant(TENANT, tenant)).await.map_err(Error::Simulator)?;
        Ok(Self { operator: None, control_plane, simulator, options, out, begin, steps: 0 })
    }

    /// The tenant, as another administrator sees it.
    pub(super) fn tenant(&self) -> TenantHandle {
        self.simulator.tenant(TENANT)
    }

    /// The credentials, as kubectl reads them from an env file.
    pub(super) fn credentials(&self) -> String {
        let secret = &self.options.secrets.client_secret;
        format!("client_id={CLIENT_ID}\nclient_secret={secret}\ntsg_id={TENANT}\n")
    }

    /// Starts the operator.
    pub(super) fn start_operator(&mut self) -> Result {
        let arguments = [
            format!("--api-url={}", self.simulator.url()),
            format!("--auth-url={}", self.simulator.auth_url()),
            "--resync-interval=10m".to_owned(),
        ];
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.show_command("mfa-operator", &words, " &")?;
        let kubeconfig = self.control_plane.kubeconfig();
        // The folder goes with the control plane, however that ends.
        let log = kubeconfig.with_file_name("operator.log");
        self.operator = Some(Operator::start(&self.options.operator, kubeconfig, log, &arguments)?);
        Ok(())
    }

    /// An error, if the operator has ended by itself.
    pub(super) fn check_operator(&mut self) -> Result {
        self.operator.as_mut().map_or(Ok(()), Operator::check)
    }

    /// Ends all of it. What is left by an error is ended on drop.
    pub(super) async fn clear(self) -> Result {
        drop(self.operator);
        self.control_plane.stop().await?;
        self.simulator.stop().await;
        Ok(())
    }

    // ---- what is printed ----------------------------------------------------------------------------------------

    fn styled(&self, style: &str, text: &str) -> String {
        if self.options.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A new part of the demo.
    pub(super) fn heading(&mut self, text: &str) -> Result {
        self.steps += 1;
        let heading = self.styled("1", &format!("{}. {text}", self.steps));
        Ok(writeln!(self.out, "\n{heading}  [{:.0} s]", self.begin.elapsed().as_secs_f64())?)
    }

    /// What comes next, in a sentence.
    pub(super) fn say(&mut self, text: &str) -> Result {
        Ok(writeln!(self.out, "\n{text}")?)
    }

    /// Something that was checked.
    pub(super) fn tell_ok(&mut self, text: &str) -> Result {
        let ok = self.styled("32", "ok");
        Ok(writeln!(self.out, "  {ok}  {text}")?)
    }

    fn show_command(&mut self, program: &str, words: &[&str], rest: &str) -> Result {
        let mut lines = vec![program.to_owned()];
        let mut words = words.iter().map(|word| quoted(word));
        while let Some(mut word) = words.next() {
            // A short flag stays with its value.
            if matches!(&*word, "-f" | "-l" | "-o")
                && let Some(value) = words.next()
            {
                word = format!("{word} {value}");
            }
            match lines.last_mut() {
                Some(line) if line.len() + word.len() < WIDTH => *line = format!("{line} {word}"),
                _ => lines.push(format!("    {word}")),
            }
        }
        let command = self.styled("36", &format!("{}{rest}", lines.join(" \\\n    ")));
        writeln!(self.out, "  $ {command}")?;
        Ok(self.out.flush()?)
    }

    fn show_text(&mut self, text: &str) -> Result {
        text.lines().try_for_each(|line| writeln!(self.out, "    {line}"))?;
        Ok(self.out.flush()?)
    }

    /// What the tenant holds, as another administrator sees it.
    pub(super) fn show_tenant(&mut self) -> Result {
        let heading = ["NAME", "FOLDER", "ID", "CERT PROFILE", "MADE BY", "WRITES"].map(str::to_owned);
        let rows = self.tenant().objects().into_iter().map(|object| {
            let profile = object.field("/mfa_cert_profile").and_then(Value::as_str).unwrap_or_default().to_owned();
            let made_by = if object.by_hand { "hand" } else { "operator" };
            let folder = object.folder.as_str().to_owned();
            [object.name, folder, object.id, profile, made_by.to_owned(), object.version.to_string()]
        });
        let rows: Vec<_> = std::iter::once(heading).chain(rows).collect();
        self.show_text(&table(&rows))
    }

    /// The requests that the tenant has answered, by method.
    pub(super) fn show_requests(&mut self) -> Result {
        let summary = self.simulator.log().summary();
        let heading = ["METHOD", "ROUTE", "ANSWER", "REQUESTS"].map(str::to_owned);
        let total = ["total", "", "", &summary.requests.to_string()].map(str::to_owned);
        let rows = summary.by_answer.iter().map(|(key, count)| {
            let mut words = key.splitn(3, ' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            [word(), word(), word(), count.to_string()]
        });
        let rows: Vec<_> = std::iter::once(heading).chain(rows).chain([total]).collect();
        self.show_text(&table(&rows))
    }

    /// How long it took.
    pub(super) fn conclude(&mut self) -> Result {
        let text = format!("Everything as expected, in {:.0} s.", self.begin.elapsed().as_secs_f64());
        let text = self.styled("1;32", &text);
        writeln!(self.out, "\n{text}")?;
        Ok(self.out.flush()?)
    }

    /// What was not as expected, and what the operator has to say of it.
    pub(super) fn tell_what_happened(&mut self, error: &Error) -> Result {
        let text = self.styled("1;31", &format!("Not as expected: {}", super::chain(error)));
        writeln!(self.out, "\n{text}")?;
        if let Some(operator) = &self.operator {
            writeln!(self.out, "\nThe end of the operator's log:\n{}", operator.log_end())?;
        }
        Ok(self.out.flush()?)
    }

    /// How to look around.
    pub(super) fn tell_what_runs(&mut self) -> Result {
        let kubectl = self.control_plane.kubectl();
        let folder = std::path::Path::new(kubectl.as_std().get_program()).parent().map(ToOwned::to_owned);
        writeln!(self.out, "\nAll of it runs until ctrl-c. In another terminal:")?;
        let mut lines = vec![
            format!("export KUBECONFIG={}", self.control_plane.kubeconfig().display()),
            format!("export PATH={}:$PATH", folder.unwrap_or_default().display()),
            "kubectl get mfa -o wide".to_owned(),
            format!("curl {}/_sim/log/summary    # what the simulated tenant was asked", self.simulator.url()),
        ];
        if let Some(operator) = &self.operator {
            lines.push(format!("tail -f {}", operator.log().display()));
        }
        self.show_text(&lines.join("\n"))
    }

    // ---- kubectl ------------------------------------------------------------------------------------------------

    /// Shows a command and its answer, which has to be that all went well.
    pub(super) async fn kubectl(&mut self, words: &[&str]) -> Result<String> {
        self.shown(words, None, true).await
    }

    /// The same with a text on standard input, which is shown by its name only.
    pub(super) async fn kubectl_with(&mut self, words: &[&str], name: &str, text: &str) -> Result<String> {
        self.shown(words, Some((name, text)), true).await
    }

    /// Shows a command and its answer, which has to be a refusal.
    pub(super) async fn kubectl_refused(&mut self, words: &[&str]) -> Result<String> {
        self.shown(words, None, false).await
    }

    async fn shown(&mut self, words: &[&str], input: Option<(&str, &str)>, wanted: bool) -> Result<String> {
        let rest = input.map(|(name, _)| format!(" <{name}")).unwrap_or_default();
        self.show_command("kubectl", words, &rest)?;
        let answer = self.ask(words, input.map(|(_, text)| text).unwrap_or_default()).await?;
        self.show_text(&answer.stdout)?;
        self.show_text(&answer.stderr)?;
        if answer.ok == wanted {
            return Ok(if wanted { answer.stdout } else { answer.stderr });
        }
        let came = if answer.ok { "was to be refused, but was not" } else { "failed; what it said is above" };
        Err(Error::Kubectl { command: format!("kubectl {}", words.join(" ")), answer: came.to_owned() })
    }

    /// Runs kubectl without a word.
    pub(super) async fn ask(&mut self, words: &[&str], input: &str) -> Result<Answer> {
        let run = async {
            let mut child = self
                .control_plane
                .kubectl()
                .args(words)
                .current_dir(&self.options.checkout)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            if let Some(mut pipe) = child.stdin.take() {
                // A kubectl that does not read its input has closed it by now, which is no mistake.
                let _ = pipe.write_all(input.as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let ended = async {
            match &mut self.operator {
                Some(operator) => operator.ended().await,
                None => std::future::pending().await,
            }
        };
        let output = tokio::select! {
            output = run => output.map_err(Error::RunKubectl)?,
            error = ended => return Err(error),
            () = tokio::time::sleep(LIMIT + LIMIT) => {
                let command = format!("kubectl {}", words.join(" "));
                return Err(Error::Kubectl { command, answer: "did not end in time".to_owned() });
            }
        };
        Ok(Answer {
            ok: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// An object of the tenant, made by another administrator.
    pub(super) fn by_hand(name: &str, vendor: Option<Value>) -> Value {
        let mut body = json!({"name": name, "mfa_cert_profile": "old-ca"});
        if let Some(vendor) = vendor {
            body["mfa_vendor_type"] = vendor;
        }
        body
    }
}

/// A word as one would type it into a shell.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_./:=@,-+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(quoted("--for=condition=Ready"), "--for=condition=Ready");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("$(it's)"), r"'$(it'\''s)'");
        assert_eq!(quoted(""), "''");
    }
}
