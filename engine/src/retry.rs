//! Retries: when a failed attempt is followed by another. argo: operator.go, processNodeRetries.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use tiphys_api::{Backoff, NodeFlag, NodePhase, NodeStatus, RetryStrategy};

use crate::frame::{Body, Key, Parent};
use crate::pod::duration;
use crate::run::{Event2, Run, phase_fulfilled};

/// What to do after an attempt.
enum Decision {
    /// The retry node is over.
    Over(NodePhase, Option<String>),
    /// Wait until then, with that message.
    Wait(Timestamp, String),
    /// Try again; attempts are to be ended at the deadline.
    Again(Option<Timestamp>),
}

impl Run {
    /// Looks at the attempts of a retry node and goes on.
    pub(crate) fn advance_retry(&mut self, key: Key) {
        let id = self.frames[key].id.clone();
        if self.node(id.as_str()).is_none_or(phase_fulfilled) {
            self.settle_retry(key);
            return;
        }
        let Body::Retry(body) = &self.frames[key].body else { return };
        let Some(last) = body.attempts.last().copied() else {
            self.begin_attempt(key);
            return;
        };
        let Some(child) = self.frame_node(last) else { return };
        let (daemoned, over, phase) = (child.daemoned == Some(true), phase_fulfilled(child), child.phase);
        if daemoned {
            let ip = child.pod_ip.clone();
            self.change(&id, |node| {
                node.daemoned = Some(true);
                node.pod_ip = ip;
            });
        }
        if !over {
            if daemoned {
                self.mark(&id, phase, None);
            }
            return;
        }
        let outputs = self.frame_node(last).and_then(|child| child.outputs.clone());
        match self.decide(key, last) {
            Err(message) => {
                self.mark(&id, NodePhase::Error, Some(&message));
                self.child_erred(key, &message);
            }
            Ok(Decision::Over(phase, message)) => {
                self.change(&id, |node| node.outputs = outputs);
                self.mark(&id, phase, message.as_deref());
            }
            Ok(Decision::Wait(at, message)) => {
                let phase = self.node(id.as_str()).map_or(NodePhase::Running, |node| node.phase);
                self.mark(&id, phase, Some(&message));
                self.timers.insert((at, Event2::Retry(key)));
            }
            Ok(Decision::Again(deadline)) => {
                if let Body::Retry(body) = &mut self.frames[key].body {
                    body.deadline = deadline;
                }
                if deadline.is_some()
                    || self.node(id.as_str()).is_some_and(|node| node.message.starts_with("Backoff for"))
                {
                    let phase = self.node(id.as_str()).map_or(NodePhase::Running, |node| node.phase);
                    self.mark(&id, phase, Some(""));
                }
                self.meter_attempt(last);
                self.begin_attempt(key);
            }
        }
    }

    fn settle_retry(&mut self, key: Key) {
        // A Retry node that is a daemon follows its attempt: when the attempt fails while it is needed, it goes on.
        let id = self.frames[key].id.clone();
        self.notify(&id);
    }

    /// The strategy of a retry node.
    pub(crate) fn strategy(&self, key: Key) -> Option<RetryStrategy> {
        let Body::Retry(body) = &self.frames[key].body else { return None };
        body.processed.retry_strategy.as_deref().or(self.spec.retry_strategy.as_deref()).cloned()
    }

    fn decide(&self, key: Key, last: Key) -> Result<Decision, String> {
        let Some(child) = self.frame_node(last) else { return Ok(Decision::Again(None)) };
        let strategy = self.strategy(key).unwrap_or_default();
        if !child.phase.is_failed_or_error() {
            return Ok(Decision::Over(NodePhase::Succeeded, None));
        }
        let over = |message: &str| Ok(Decision::Over(child.phase, Some(message.to_string())));
        if let Some(shutdown) = self.shutdown {
            return over(&format!("Stopped with strategy '{}'", shutdown.as_str()));
        }
        if let Some(deadline) = self.deadline.filter(|deadline| self.now >= *deadline) {
            return over(&format!("retry exceeded workflow deadline {}", go_time(deadline)));
        }
        let attempts = self.attempt_nodes(key);
        let mut attempts_deadline = None;
        if let Some(backoff) = &strategy.backoff {
            match self.back_off(&strategy, backoff, &attempts, child)? {
                Ok(deadline) => attempts_deadline = deadline,
                Err(decision) => return Ok(decision),
            }
        }
        let (on_failed, on_error) = policy(&strategy, child, self.config.transient_pattern.as_ref())?;
        if (child.phase == NodePhase::Failed && !on_failed) || (child.phase == NodePhase::Error && !on_error) {
            return over(&child.message);
        }
        if let Some(limit) = &strategy.limit {
            let limit = limit.as_i64().ok_or_else(|| format!("retryStrategy.limit '{limit}' is no number"))?;
            if i64::try_from(attempts.len()).unwrap_or(i64::MAX) > limit {
                return over("No more retries left");
            }
        }
        if !strategy.expression.is_empty() && !self.wants_more(&strategy.expression, attempts.len(), child)? {
            return over("retryStrategy.expression evaluated to false");
        }
        Ok(Decision::Again(attempts_deadline))
    }

    /// The wait between attempts: the deadline of attempts, or what to do instead of trying again now.
    fn back_off(
        &self,
        strategy: &RetryStrategy,
        backoff: &Backoff,
        attempts: &[&NodeStatus],
        child: &NodeStatus,
    ) -> Result<Result<Option<Timestamp>, Decision>, String> {
        let over = |message: &str| Ok(Err(Decision::Over(child.phase, Some(message.to_string()))));
        let mut deadline = None;
        if !backoff.max_duration.is_empty() {
            let first = attempts.first().and_then(|node| node.started_at).map_or(self.now, |time| time.0);
            let limit = first + duration(&backoff.max_duration)?;
            if self.now > limit {
                return over("Max duration limit exceeded");
            }
            deadline = Some(limit);
        }
        if backoff.duration.is_empty() {
            return Err("no base duration specified for retryStrategy".into());
        }
        let wait = wait_before(backoff, attempts.len())?;
        let ended = child.finished_at.map_or(self.now, |time| time.0);
        let until = ended.checked_add(wait).unwrap_or(Timestamp::MAX);
        if deadline.is_some_and(|deadline| until > deadline) {
            return over("Backoff would exceed max duration limit");
        }
        let limited = strategy.limit.as_ref().and_then(tiphys_api::IntOrString::as_i64);
        let counts = limited.is_some_and(|limit| i64::try_from(attempts.len()).unwrap_or(i64::MAX) <= limit);
        if self.now < until && counts {
            return Ok(Err(Decision::Wait(until, format!("Backoff for {}", humanize(wait)))));
        }
        Ok(Ok(deadline))
    }

    fn wants_more(&self, expression: &str, attempts: usize, child: &NodeStatus) -> Result<bool, String> {
        let mut variables = attempt_facts(child, "-1");
        variables.insert("retries".into(), attempts.saturating_sub(1).to_string());
        tiphys_expr::lang::eval_bool(expression, &tiphys_expr::lang::nested_env(&variables, &[]))
            .map_err(|error| error.to_string())
    }

    /// The nodes of the attempts so far.
    fn attempt_nodes(&self, key: Key) -> Vec<&NodeStatus> {
        match &self.frames[key].body {
            Body::Retry(body) => body.attempts.iter().filter_map(|attempt| self.frame_node(*attempt)).collect(),
            _ => Vec::new(),
        }
    }

    /// Begins the next attempt.
    fn begin_attempt(&mut self, key: Key) {
        let Body::Retry(body) = &self.frames[key].body else { return };
        let number = body.attempts.len();
        let attempt = self.attempt_frame(key, number);
        self.begin(attempt);
    }

    fn attempt_frame(&mut self, key: Key, number: usize) -> Key {
        let frame = &self.frames[key];
        let name = format!("{}({number})", frame.name);
        let flag = NodeFlag { retried: true, ..frame.flag.clone().unwrap_or_default() };
        let (boundary, on_exit, depth, call) = (frame.boundary, frame.on_exit, frame.depth, frame.call.clone());
        let attempt = self.new_call(name, Parent::Attempt { retry: key }, boundary, on_exit, depth, Some(flag), call);
        if let Body::Retry(body) = &mut self.frames[key].body {
            body.attempts.push(attempt);
        }
        // The flag is one object for the retry node of a hook and its attempts.
        if self.frames[key].flag.as_ref().is_some_and(|flag| flag.hooked) {
            let id = self.frames[key].id.clone();
            self.change(&id, |node| node.node_flag.get_or_insert_default().retried = true);
        }
        attempt
    }

    /// The deadline that the attempts after the first were begun with.
    fn adopt_deadline(&mut self, key: Key) {
        let attempt = |number: usize| self.node_named(&format!("{}({number})", self.frames[key].name));
        let (Some(first), Some(_)) = (attempt(0).and_then(|node| node.started_at), attempt(1)) else { return };
        let longest = self.strategy(key).and_then(|strategy| strategy.backoff).map(|backoff| backoff.max_duration);
        // A duration that cannot be read is told of when the next attempt is decided on.
        let Some(Ok(longest)) = longest.filter(|text| !text.is_empty()).map(|text| duration(&text)) else { return };
        if let Body::Retry(body) = &mut self.frames[key].body {
            body.deadline = first.0.checked_add(longest).ok();
        }
    }

    /// Takes over the attempts that a status already has.
    pub(crate) fn adopt_attempts(&mut self, key: Key) {
        self.adopt_deadline(key);
        let mut number = 0;
        loop {
            let id = self.id_of(&format!("{}({number})", self.frames[key].name));
            if self.node(id.as_str()).is_none() {
                break;
            }
            let attempt = self.attempt_frame(key, number);
            self.begin(attempt);
            number += 1;
        }
    }

    /// An attempt could not even be made. argo: operator.go, the end of executeTemplate.
    pub(crate) fn attempt_erred(&mut self, retry: Key, _attempt: Key, message: &str) {
        let policy = self.strategy(retry).map(|strategy| actual_policy(&strategy).to_string()).unwrap_or_default();
        if matches!(policy.as_str(), "Always" | "OnError" | "OnTransientError") {
            return;
        }
        let id = self.frames[retry].id.clone();
        self.mark(&id, NodePhase::Error, Some(message));
        self.child_erred(retry, message);
    }

    /// `retries` and `lastRetry.*` of an attempt.
    pub(crate) fn attempt_variables(&self, number: usize, previous: Option<Key>) -> BTreeMap<String, String> {
        let previous = previous.and_then(|previous| self.frame_node(previous));
        let mut variables = match previous {
            Some(node) => attempt_facts(node, "0"),
            None => [("exitCode", "0"), ("status", ""), ("duration", "0"), ("message", "")]
                .into_iter()
                .map(|(name, value)| (format!("lastRetry.{name}"), value.to_string()))
                .collect(),
        };
        variables.insert("retries".into(), number.to_string());
        variables
    }
}

fn attempt_facts(node: &NodeStatus, no_exit_code: &str) -> BTreeMap<String, String> {
    let exit_code = node.outputs.as_ref().and_then(|outputs| outputs.exit_code.clone());
    let seconds = match (node.started_at, node.finished_at) {
        (Some(started), Some(finished)) => finished.as_second() - started.as_second(),
        _ => 0,
    };
    BTreeMap::from([
        ("lastRetry.exitCode".into(), exit_code.unwrap_or_else(|| no_exit_code.into())),
        ("lastRetry.status".into(), node.phase.as_str().into()),
        ("lastRetry.duration".into(), seconds.to_string()),
        ("lastRetry.message".into(), node.message.clone()),
    ])
}

/// argo: workflow_types.go, RetryPolicyActual.
fn actual_policy(strategy: &RetryStrategy) -> &str {
    match (strategy.retry_policy.as_str(), strategy.expression.is_empty()) {
        ("", true) => "OnFailure",
        ("", false) => "Always",
        (policy, _) => policy,
    }
}

/// Whether failures and errors are retried.
fn policy(strategy: &RetryStrategy, child: &NodeStatus, pattern: Option<&Regex>) -> Result<(bool, bool), String> {
    match actual_policy(strategy) {
        "Always" => Ok((true, true)),
        "OnError" => Ok((false, true)),
        "OnFailure" => Ok((true, false)),
        "OnTransientError" => {
            let transient = crate::transient::is_transient(&child.message, pattern);
            Ok((transient, transient))
        }
        other => Err(format!("{other} is not a valid RetryPolicy")),
    }
}

/// duration × factor^(attempts − 1), at most `cap`.
fn wait_before(backoff: &Backoff, attempts: usize) -> Result<SignedDuration, String> {
    let base = duration(&backoff.duration)?;
    let factor = match &backoff.factor {
        None => 0,
        Some(factor) => {
            factor.as_i64().ok_or_else(|| format!("retryStrategy.backoff.factor '{factor}' is no number"))?
        }
    };
    let mut wait = base;
    if factor > 0 {
        let power = (0..attempts.saturating_sub(1)).try_fold(1_i64, |power, _| power.checked_mul(factor));
        let nanos = power.and_then(|power| i64::try_from(base.as_nanos()).ok()?.checked_mul(power));
        wait = SignedDuration::from_nanos(nanos.unwrap_or(i64::MAX));
    }
    if !backoff.cap.is_empty() {
        wait = wait.min(duration(&backoff.cap)?);
    }
    Ok(wait)
}

/// A duration in words. argo: the humanize package: `1 minute 30 seconds`.
fn humanize(wait: SignedDuration) -> String {
    let seconds = wait.as_secs();
    let parts = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let mut left = seconds;
    let mut words = Vec::new();
    for (size, name) in parts {
        let count = left / size;
        left %= size;
        if count > 0 {
            words.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
    }
    if words.is_empty() { "0 seconds".into() } else { words[..words.len().min(2)].join(" ") }
}

/// A time as Go prints it.
fn go_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}
