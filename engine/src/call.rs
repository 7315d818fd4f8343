//! Executing a template at a node: resolve it, fill in its arguments, see whether there is room, make the node.
//!
//! argo: operator.go, executeTemplate and common/util.go, ProcessArgs and SubstituteParams.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tiphys_api::{Arguments, Inputs, NodePhase, NodeType, Parameter, Task, Template, TemplateType};
use tiphys_expr::template::{self, Layered};

use crate::frame::{Body, Call, CallerKind, Frame, Key, Parent, RetryBody};
use crate::globals::{NoValue, config_map_value};
use crate::id::{NodeId, pod_name};
use crate::node::Birth;
use crate::run::{Event, Event2, Run, Stop, fulfilled, phase_fulfilled};
use crate::templates::{Base, Resolved, to_json};
use crate::unsupported::unsupported_template;

/// The value that stands for an argument whose producer was skipped. argo: common/params.go.
pub(crate) const ABSENT: &str = "__argo-internal.absent-optional-output__";

const MAX_DEPTH: u32 = 100;
/// How many calls are begun within each other at most: what is deeper waits for its turn, so that the depth of a workflow is not
/// that of the stack.
const MAX_NESTING: u32 = 100;
const TOO_DEEP: &str = "Maximum recursion depth exceeded. See https://argo-workflows.readthedocs.io/en/latest/scaling/#maximum-recursion-depth";

/// What a call looks like once its template is found and its arguments are in.
pub(crate) struct Prepared {
    pub base: Base,
    pub resolved: Resolved,
    pub processed: Arc<Template>,
}

impl Run {
    /// Makes a frame. `index` finds it by the id of its node.
    pub(crate) fn add_frame(&mut self, frame: Frame) -> Key {
        let key = self.frames.len();
        self.by_id.insert(frame.id.clone(), key);
        self.frames.push(frame);
        key
    }

    /// A frame for a call that is about to begin.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new_call(
        &mut self,
        name: String,
        parent: Parent,
        boundary: Option<Key>,
        on_exit: bool,
        depth: u32,
        flag: Option<tiphys_api::NodeFlag>,
        call: Call,
    ) -> Key {
        let id = self.new_id(&name);
        // A node that was taken over from a status was hung up when it was made.
        let node = self.wf.status.nodes.index_of(id.as_str());
        let linked = node.is_some();
        self.add_frame(Frame { name, id, node, parent, boundary, on_exit, depth, flag, call, body: Body::New, linked })
    }

    /// Begins a call, or takes up again one that was waiting.
    pub(crate) fn begin(&mut self, key: Key) {
        if !matches!(self.frames[key].body, Body::New) {
            return;
        }
        if self.nesting >= MAX_NESTING {
            self.push(Event::Begin(key));
            return;
        }
        self.nesting += 1;
        let begun = self.try_begin(key);
        self.nesting -= 1;
        match begun {
            Ok(()) => {}
            Err(Stop::Need(need)) => self.need(need, Some(key)),
            Err(Stop::Held) => {}
            // Whoever waits is ended where nothing may begin any longer.
            Err(Stop::Locked) => self.end_unless_allowed(key),
            Err(Stop::TooDeep) => {
                self.frames[key].body = Body::Closed;
                self.err(key, TOO_DEEP);
                self.tell(key);
            }
            Err(Stop::Failed(message)) => {
                self.frames[key].body = Body::Closed;
                self.err(key, &message);
                self.child_erred(key, &message);
            }
        }
    }

    fn try_begin(&mut self, key: Key) -> Result<(), Stop> {
        let limit = if self.config.max_depth == 0 { MAX_DEPTH } else { self.config.max_depth };
        if self.frames[key].depth >= limit {
            return Err(Stop::TooDeep);
        }
        let known = self.frame_node(key).map(|node| (fulfilled(node), phase_fulfilled(node), node.r#type));
        if let Some((true, true, _)) = known {
            // Taken over from a status: it is over, and nothing below it matters any more.
            self.adopt_finished(key);
            return Ok(());
        }
        if (known.is_none() || self.has_waited(key)) && self.comes_too_late(key) {
            self.frames[key].body = Body::Closed;
            self.unlock(key);
            return Ok(());
        }
        if self.has_waited(key) && self.fails_fast(key) {
            self.frames[key].body = Body::Closed;
            return Ok(());
        }
        let prepared = self.prepare(key)?;
        let display_name = display_name(&prepared.processed)?;
        if known.is_none() {
            self.check_room(key)?;
        }
        let is_attempt = matches!(self.frames[key].parent, Parent::Attempt { .. });
        // An attempt runs under the locks of its retry node, and that has looked for a kept result.
        if !is_attempt {
            self.lock(key, &prepared)?;
            if (known.is_none() || self.has_waited(key)) && self.memoized(key, &prepared)? {
                return Ok(());
            }
            self.wait_no_longer(key);
        }
        self.meter(key, &prepared.processed);
        let retried = prepared.processed.retry_strategy.is_some() || self.spec.retry_strategy.is_some();
        if retried && !is_attempt {
            self.begin_retry(key, prepared)?;
        } else {
            self.begin_work(key, prepared)?;
        }
        self.meter_begins(key);
        self.end_unless_allowed(key);
        if known.is_some() && self.frame_node(key).is_some_and(fulfilled) {
            // A daemon that was up when the status was taken over.
            self.tell(key);
        }
        if let Some(name) = display_name.filter(|_| !is_attempt) {
            let id = self.frames[key].id.clone();
            self.change(&id, |node| node.display_name = name);
        }
        Ok(())
    }

    /// Whether what the call belongs to has ended without it: by failing fast, on shutdown, or because of an error.
    fn comes_too_late(&self, key: Key) -> bool {
        let over = |key: Key| self.frame_node(key).is_some_and(|node| node.phase.is_fulfilled());
        let owner = match self.frames[key].parent {
            Parent::Slot { frame, .. } | Parent::Hook { frame, .. } => Some(frame),
            Parent::Attempt { retry } => Some(retry),
            _ => None,
        };
        owner.into_iter().chain(self.frames[key].boundary).any(over)
    }

    /// A node that was over when the status was taken over.
    fn adopt_finished(&mut self, key: Key) {
        self.frames[key].body = Body::Closed;
        self.unlock_what_is_left(key);
        self.tell(key);
    }

    /// Finds the template and fills in arguments and variables.
    fn prepare(&mut self, key: Key) -> Result<Prepared, Stop> {
        if let Parent::Attempt { retry } = self.frames[key].parent {
            return self.prepare_attempt(key, retry);
        }
        let call = self.frames[key].call.clone();
        let (base, resolved, store) =
            self.templates.resolve(&self.spec, &self.wf.status.stored_templates, &call.base, &call.task)?;
        if let Some(stored_key) = store {
            self.wf.status.stored_templates.insert(stored_key, (**resolved.template()).clone());
            self.out.status_changed = true;
        }
        let template = resolved.template();
        let mut locals = BTreeMap::new();
        let retried = template.retry_strategy.is_some() || self.spec.retry_strategy.is_some();
        let name = self.frames[key].name.clone();
        if template.is_pod() && !retried {
            locals.insert("pod.name".to_string(), self.pod_name(&name, &template.name));
        }
        let named = match call.caller {
            CallerKind::Step => "steps.name",
            CallerKind::Task => "tasks.name",
        };
        locals.insert(named.to_string(), call.task.name.clone());
        locals.insert("node.name".to_string(), name);
        let inputs = self.inputs(template, &call.arguments)?;
        let processed = self.substitute(&resolved.text(), inputs, &locals)?;
        Ok(Prepared { base, resolved, processed: Arc::new(processed) })
    }

    /// An attempt runs the retried template with the variables of the attempt filled in.
    fn prepare_attempt(&mut self, key: Key, retry: Key) -> Result<Prepared, Stop> {
        let Body::Retry(body) = &self.frames[retry].body else {
            return Err(Stop::Failed("an attempt without a retry node".into()));
        };
        let (processed, resolved, base) = (body.processed.clone(), body.resolved.clone(), body.template_base.clone());
        let number = body.attempts.iter().position(|attempt| *attempt == key).unwrap_or(0);
        let previous = number.checked_sub(1).and_then(|index| body.attempts.get(index)).copied();
        let mut locals = self.attempt_variables(number, previous);
        if processed.is_pod() {
            let name = self.frames[key].name.clone();
            locals.insert("pod.name".to_string(), self.pod_name(&name, &processed.name));
        }
        let mut bare = (*processed).clone();
        let inputs = std::mem::take(&mut bare.inputs);
        let text = to_json(&bare);
        let processed = if text.contains("{{") || to_json(&inputs).contains("{{") {
            Arc::new(self.substitute(&text, inputs, &locals)?)
        } else {
            processed
        };
        Ok(Prepared { base, resolved, processed })
    }

    /// The inputs of a template with their values. argo: common/util.go, ProcessArgs.
    fn inputs(&self, template: &Template, arguments: &Arguments) -> Result<Inputs, Stop> {
        let mut inputs = template.inputs.clone();
        for input in &mut inputs.parameters {
            if input.value.is_none() {
                input.value.clone_from(&input.default);
            }
            let argument = arguments.parameter(&input.name);
            if argument.and_then(|argument| argument.value.as_ref()).is_some_and(|value| value.as_str() == ABSENT) {
                if input.value.is_none() && input.value_from.is_none() {
                    return Err(Stop::Failed(format!(
                        "inputs.parameters.{}: argument references an absent optional (skipped/omitted node output with no default)",
                        input.name
                    )));
                }
            } else if let Some(argument) = argument {
                take_argument(argument, input);
            }
            self.fill_from_config_map(input)?;
        }
        for input in &mut inputs.artifacts {
            let argument = arguments.artifact(&input.name);
            if !input.optional && !crate::artifacts::has_location_or_key(input) {
                let Some(argument) = argument else {
                    return Err(Stop::Failed(format!("inputs.artifacts.{} was not supplied", input.name)));
                };
                if !crate::artifacts::has_location_or_key(argument) {
                    return Err(Stop::Failed(format!("inputs.artifacts.{} missing location information", input.name)));
                }
            }
            if let Some(argument) = argument {
                let (path, mode, recurse) = (input.path.clone(), input.mode, input.recurse_mode);
                *input = argument.clone();
                (input.path, input.mode, input.recurse_mode) = (path, mode, recurse);
            }
        }
        Ok(inputs)
    }

    /// A ConfigMap that an input names wins over its value and its default; an argument with a value has taken its place.
    /// argo: common/util.go, substituteAndGetConfigMapValue.
    fn fill_from_config_map(&self, input: &mut Parameter) -> Result<(), Stop> {
        let Some(from) = input.value_from.as_deref() else { return Ok(()) };
        let Some(reference) = from.config_map_key_ref.as_ref() else { return Ok(()) };
        let (name, key) =
            (self.replace_text(&reference.name, &self.globals)?, self.replace_text(&reference.key, &self.globals)?);
        let value = match (config_map_value(&name, &key, &|name| self.config_map(name)), &from.default) {
            (Ok(value), _) => value.into(),
            (Err(NoValue::Unknown(need)), _) => return Err(Stop::Need(need)),
            (Err(NoValue::Absent(_)), Some(default)) => default.clone(),
            (Err(NoValue::Absent(message) | NoValue::Failed(message)), _) => {
                return Err(Stop::Failed(format!(
                    "unable to retrieve inputs.parameters.{} from ConfigMap: {message}",
                    input.name
                )));
            }
        };
        input.value = Some(value);
        Ok(())
    }

    /// Fills variables into a template: first the workflow's and the node's, then its own inputs.
    /// argo: common/util.go, SubstituteParams.
    fn substitute(&self, text: &str, inputs: Inputs, locals: &BTreeMap<String, String>) -> Result<Template, Stop> {
        let failed = |error: template::TemplateError| Stop::Failed(error.to_string());
        let broken =
            |error: serde_json::Error| Stop::Failed(format!("the template does not fit after substitution: {error}"));
        let outer = Layered(locals, &self.globals);
        let inputs_text = to_json(&inputs);
        let inputs: Inputs = if inputs_text.contains("{{") {
            let replaced = template::replace(&inputs_text, &outer, true).map_err(failed)?;
            serde_json::from_str(&replaced).map_err(broken)?
        } else {
            inputs
        };
        if !text.contains("{{") && !to_json(&inputs).contains("{{") {
            let mut processed: Template = serde_json::from_str(text).map_err(broken)?;
            processed.inputs = inputs;
            return Ok(processed);
        }
        let first = template::replace(text, &outer, true).map_err(failed)?;
        if !first.contains("{{") && !to_json(&inputs).contains("{{") {
            let mut processed: Template = serde_json::from_str(&first).map_err(broken)?;
            processed.inputs = inputs;
            return Ok(processed);
        }
        let own = own_variables(&inputs, &first)?;
        let both = Layered(&own, &outer);
        let second = template::replace(&first, &both, true).map_err(failed)?;
        let mut processed: Template = serde_json::from_str(&second).map_err(broken)?;
        let inputs_text = to_json(&inputs);
        processed.inputs = if inputs_text.contains("{{") {
            let replaced = template::replace(&inputs_text, &both, true).map_err(failed)?;
            serde_json::from_str(&replaced).map_err(broken)?
        } else {
            inputs
        };
        Ok(processed)
    }

    /// The Pod's name of a node.
    pub(crate) fn pod_name(&self, node_name: &str, template: &str) -> String {
        let plain = pod_name(self.pod_names, &self.wf.metadata.name, node_name, template);
        match self.renamed.get(node_name) {
            Some((_, number)) => format!("{plain}-{number}"),
            None => plain,
        }
    }

    /// The id of the node of that name.
    pub(crate) fn id_of(&self, name: &str) -> NodeId {
        match self.renamed.get(name) {
            Some((id, _)) => id.clone(),
            None => NodeId::of(&self.wf.metadata.name, name),
        }
    }

    /// The id for a node that is about to be made. Ids hold 32 bits of hash: among tens of thousands of nodes two names
    /// may share one. Argo takes the two for the same node; here the later one gets a number behind its id.
    pub(crate) fn new_id(&mut self, name: &str) -> NodeId {
        let plain = self.id_of(name);
        let taken = |run: &Run, id: &NodeId| {
            let by_frame = run.by_id.get(id).is_some_and(|key| run.frames[*key].name != name);
            by_frame || run.node(id.as_str()).is_some_and(|node| node.name != name)
        };
        if !taken(self, &plain) {
            return plain;
        }
        let free = (2..).map(|number| (NodeId::from(format!("{plain}-{number}").as_str()), number));
        let found = free.into_iter().find(|(id, _)| !taken(self, id));
        let (id, number) = found.unwrap_or((plain, 0));
        self.renamed.insert(name.to_string(), (id.clone(), number));
        id
    }

    pub(crate) fn pod_name_of(&self, id: &NodeId) -> Option<String> {
        if let Some(Body::Pod(body)) = self.by_id.get(id).map(|key| &self.frames[*key].body) {
            return Some(body.pod_name.clone());
        }
        let node = self.node(id.as_str())?;
        Some(self.pod_name(&node.name, crate::globals::template_name(node)))
    }

    /// A template with a retry strategy: a node of type Retry, whose children are the attempts.
    fn begin_retry(&mut self, key: Key, prepared: Prepared) -> Result<(), Stop> {
        if !self.has_node(key) {
            let birth = Birth { template: Some(&prepared.processed), ..Birth::of(NodeType::Retry, NodePhase::Running) };
            self.make_node(key, birth);
            self.link_to_parent(key);
        }
        self.frames[key].body = Body::Retry(Box::new(RetryBody {
            processed: prepared.processed,
            resolved: prepared.resolved,
            template_base: prepared.base,
            attempts: Vec::new(),
            deadline: None,
        }));
        self.adopt_attempts(key);
        self.push(Event::Retry(key));
        Ok(())
    }

    /// Begins what the template says.
    fn begin_work(&mut self, key: Key, prepared: Prepared) -> Result<(), Stop> {
        let Prepared { base, resolved, processed } = prepared;
        if let Some(message) = unsupported_template(&processed, &self.config.without) {
            return Err(Stop::Failed(message));
        }
        match processed.template_type() {
            Some(
                TemplateType::Container
                | TemplateType::Script
                | TemplateType::ContainerSet
                | TemplateType::Resource
                | TemplateType::Data,
            ) => self.begin_pod(key, resolved, processed),
            Some(TemplateType::Suspend) => self.begin_suspend(key, &processed),
            // A list without groups is none: argo: the template goes through JSON, which leaves it out.
            Some(TemplateType::Steps) if processed.steps.as_ref().is_some_and(|groups| !groups.is_empty()) => {
                self.begin_steps(key, base, processed)
            }
            Some(TemplateType::Dag) => self.begin_dag(key, base, processed),
            Some(TemplateType::Http | TemplateType::Plugin) => self.begin_agent_task(key, processed),
            Some(TemplateType::Steps) | None => {
                Err(Stop::Failed(format!("Template '{}' missing specification", processed.name)))
            }
        }
    }

    /// A node that was made by this call is hung under its parent.
    pub(crate) fn link_to_parent(&mut self, key: Key) {
        if std::mem::replace(&mut self.frames[key].linked, true) {
            return;
        }
        let child = self.frames[key].id.clone();
        match self.frames[key].parent {
            Parent::Slot { frame, slot } => self.link_slot(frame, slot, &child),
            Parent::Attempt { retry } => {
                let parent = self.frames[retry].id.clone();
                self.add_child(&parent, &child);
            }
            Parent::Hook { frame, slot } => {
                let parent = self.slot_node(frame, slot);
                self.add_child(&parent, &child);
            }
            Parent::WorkflowHook => {
                let root = NodeId::from(self.wf.metadata.name.as_str());
                self.add_child(&root, &child);
            }
            Parent::Entry | Parent::Exit | Parent::Group { .. } => {}
        }
    }

    /// Tells the parent that a frame's node is there in its final state.
    pub(crate) fn tell(&mut self, key: Key) {
        self.link_to_parent(key);
        let id = self.frames[key].id.clone();
        self.notify(&id);
    }

    /// A call ended in an error that its caller is told of, beyond the phase of the node.
    pub(crate) fn child_erred(&mut self, key: Key, message: &str) {
        self.link_to_parent(key);
        match self.frames[key].parent {
            Parent::Slot { frame, slot } => self.slot_erred(frame, slot, key, message),
            Parent::Entry => self.entry_erred(message),
            Parent::Exit => self.exit_erred(message),
            Parent::Hook { frame, slot } => self.hook_erred(frame, slot, message),
            Parent::WorkflowHook => {
                let root = NodeId::from(self.wf.metadata.name.as_str());
                self.mark(&root, NodePhase::Error, Some(message));
                self.push(Event::Workflow);
            }
            Parent::Attempt { retry } => self.attempt_erred(retry, key, message),
            Parent::Group { .. } => {}
        }
        let id = self.frames[key].id.clone();
        self.notify(&id);
    }

    /// Sets a timer for a node that is still Pending.
    pub(crate) fn watch_pending(&mut self, key: Key, at: Timestamp) {
        self.timers.insert((at, Event2::Pending(key)));
    }

    /// A call of a template by name, as hooks and exit handlers make it.
    pub(crate) fn plain_call(&self, base: Base, task: Task, arguments: Arguments) -> Call {
        Call { task: Arc::new(task), caller: CallerKind::Step, base, arguments: Arc::new(arguments) }
    }
}

/// The name that the template wants shown. argo: operator.go, displayNameRegex.
fn display_name(template: &Template) -> Result<Option<String>, Stop> {
    const NAME: &str = "workflows.argoproj.io/display-name";
    let Some(name) = template.annotations.get(NAME).filter(|name| !name.is_empty()) else { return Ok(None) };
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'.';
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let fits = (2..=63).contains(&bytes.len()) && bytes.iter().all(inner);
    if !(fits && outer(bytes.first()) && outer(bytes.last())) {
        return Err(Stop::Failed(
            "displayName must match the regex ^[a-zA-Z0-9][a-zA-Z0-9-.]{0,61}[a-zA-Z0-9]$".into(),
        ));
    }
    Ok(Some(name.clone()))
}

/// argo: common/util.go, overwriteWithArguments.
fn take_argument(argument: &Parameter, input: &mut Parameter) {
    if argument.value.is_some() {
        input.value.clone_from(&argument.value);
        input.value_from = None;
    } else if argument.value_from.is_some() {
        input.value = None;
        input.value_from.clone_from(&argument.value_from);
    }
}

/// The variables that a template's own inputs and paths give.
fn own_variables(inputs: &Inputs, first_pass: &str) -> Result<BTreeMap<String, String>, Stop> {
    let mut own = BTreeMap::new();
    for input in &inputs.parameters {
        match (&input.value, &input.value_from) {
            (None, None) => {
                return Err(Stop::Failed(format!("inputs.parameters.{} had no value", input.name)));
            }
            (Some(value), _) => {
                own.insert(format!("inputs.parameters.{}", input.name), value.0.clone());
            }
            (None, Some(_)) => {}
        }
    }
    let list = if inputs.parameters.is_empty() { "null".to_string() } else { to_json(&inputs.parameters) };
    own.insert("inputs.parameters".to_string(), list);
    for artifact in &inputs.artifacts {
        if !artifact.path.is_empty() {
            own.insert(format!("inputs.artifacts.{}.path", artifact.name), artifact.path.clone());
        }
    }
    if first_pass.contains("outputs.") {
        let template: Template = serde_json::from_str(first_pass).map_err(|error| Stop::Failed(error.to_string()))?;
        for artifact in &template.outputs.artifacts {
            if !artifact.path.is_empty() {
                own.insert(format!("outputs.artifacts.{}.path", artifact.name), artifact.path.clone());
            }
        }
        for parameter in &template.outputs.parameters {
            let path = parameter.value_from.as_ref().map_or("", |from| from.path.as_str());
            if !path.is_empty() {
                own.insert(format!("outputs.parameters.{}.path", parameter.name), path.to_string());
            }
        }
    }
    Ok(own)
}
