//! A clone: the refs that are wanted, the work tree of one revision, and the submodules in it.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix::bstr::{BStr, ByteSlice};
use gix::progress::Discard;
use gix::protocol::handshake::Ref;
use gix::refs::transaction::PreviousValue;
use gix::remote::Direction;
use gix::remote::fetch::{Shallow, Tags};
use gix::{ObjectId, Repository};
use gix_transport::Protocol;
use gix_transport::client::blocking_io::http::Transport;
use reqwest::Url;
use tokio::runtime::Handle;

use super::GitConfig;
use super::web::{Fault, Web};
use crate::error::{Error, Result};

/// Submodules in submodules; go-git ends there as well.
const DEEPEST: u32 = 10;
const TAGS: &str = "+refs/tags/*:refs/tags/*";
const BRANCHES: &str = "+refs/heads/*:refs/remotes/origin/*";
const LOCAL: &str = "+refs/heads/*:refs/heads/*";

/// What is cloned.
pub(super) struct Remote {
    config: GitConfig,
    url: Url,
    web: Web,
    runtime: Handle,
}

/// What is checked out.
enum Wanted<'a> {
    /// The branch that the remote's HEAD names, or the only one.
    Branch(Option<&'a str>),
    /// Whatever this names, without a branch.
    Revision(&'a str),
    /// The commit that the repository above names.
    Commit(ObjectId),
}

impl Remote {
    pub(super) fn new(config: &GitConfig, url: Url, web: Web, runtime: Handle) -> Self {
        Remote { config: config.clone(), url, web, runtime }
    }

    /// Clones to `dest`, where nothing is.
    pub(super) fn run(&self, dest: &Path) -> Result<()> {
        let wanted = match self.config.revision.as_str() {
            "" => Wanted::Branch(self.config.single_branch.as_deref()),
            revision => Wanted::Revision(revision),
        };
        self.repository(&self.url, dest, &wanted, DEEPEST)
    }

    fn repository(&self, url: &Url, dest: &Path, wanted: &Wanted<'_>, deepest: u32) -> Result<()> {
        let job = Job { remote: self, url, fault: Fault::default() };
        let outcome = job.run(dest, wanted);
        // A request that failed says why, and of which class it is.
        let outcome = outcome.map_err(|error| match job.fault.take() {
            Some(cause) => cause,
            None => match error {
                Failure::Ours(error) => error,
                Failure::Git(error) => Error::permanent(format!("cloning {url}"), chain(&error)),
            },
        });
        let repo = outcome?;
        match self.config.submodules {
            true => self.submodules(&repo, url, deepest),
            false => Ok(()),
        }
    }

    fn submodules(&self, repo: &Repository, url: &Url, deepest: u32) -> Result<()> {
        let fail = |error: gix::Error| Error::permanent(format!("reading the submodules of {url}"), chain(&error));
        let Some(workdir) = repo.workdir() else { return Ok(()) };
        let Some(modules) = repo.submodules().map_err(fail)? else { return Ok(()) };
        for module in modules {
            // Only what the tree itself holds as a submodule has a commit; its path was checked with the tree's.
            let Some(commit) = module.index_id().map_err(fail)? else { continue };
            let path = module.path().map_err(fail)?;
            let at = workdir.join(gix::path::from_bstr(path.as_bstr()).map_err(fail)?);
            let text = module.url().map_err(fail)?.to_bstring().to_string();
            let target = join(url, &text).ok_or_else(|| {
                Error::Refused(format!(
                    "submodule {path:?} of {url} is at {text:?}, which is not http or https: set \
                     artifacts[].git.disableSubmodules to true"
                ))
            })?;
            if deepest == 0 {
                return Err(Error::Refused(format!("{url} has submodules in each other more than {DEEPEST} deep")));
            }
            self.repository(&target, &at, &Wanted::Commit(commit), deepest - 1)?;
        }
        Ok(())
    }
}

/// A submodule's URL, which may be relative to its repository's.
fn join(url: &Url, text: &str) -> Option<Url> {
    let target = match text.starts_with("./") || text.starts_with("../") {
        true => format!("{}/", url.as_str().trim_end_matches('/')).parse::<Url>().ok()?.join(text).ok()?,
        false => text.parse().ok()?,
    };
    matches!(target.scheme(), "http" | "https").then_some(target)
}

fn chain(error: &gix::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// A failure of ours, or git's.
enum Failure {
    Ours(Error),
    Git(gix::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Ours(error)
    }
}

impl From<gix::Error> for Failure {
    fn from(error: gix::Error) -> Self {
        Failure::Git(error)
    }
}

/// One repository of a clone.
struct Job<'a> {
    remote: &'a Remote,
    url: &'a Url,
    fault: Fault,
}

impl Job<'_> {
    fn run(&self, dest: &Path, wanted: &Wanted<'_>) -> std::result::Result<Repository, Failure> {
        let config = &self.remote.config;
        let mut repo = self.init(dest)?;
        let single = config.single_branch.as_deref().filter(|_| !matches!(wanted, Wanted::Commit(_)));
        let branches = match single {
            Some(branch) => format!("+refs/heads/{branch}:refs/remotes/origin/{branch}"),
            None => BRANCHES.to_owned(),
        };
        let mut specs = vec![branches, TAGS.to_owned()];
        if let (Wanted::Revision(_), None) = (wanted, single) {
            specs.push(LOCAL.to_owned());
        }
        if let (Wanted::Revision(_), Some(branch)) = (wanted, single) {
            specs.push(format!("+refs/heads/{branch}:refs/heads/{branch}"));
        }
        let depth = config.depth.and_then(NonZeroU32::new).filter(|_| !matches!(wanted, Wanted::Commit(_)));
        let shallow = || depth.map_or(Shallow::NoChange, Shallow::DepthAtRemote);
        let head = self.fetch(&repo, &specs, shallow())?;
        if head.refs == 0 {
            // An empty repository is no error (argo: git.go).
            return Ok(repo);
        }
        if !config.fetch.is_empty() && !matches!(wanted, Wanted::Commit(_)) {
            self.fetch(&repo, &config.fetch, shallow())?;
        }
        let commit = match wanted {
            Wanted::Branch(branch) => {
                let name = branch.map(str::to_owned).or(head.branch);
                self.branch(&mut repo, name.as_deref(), head.commit)?
            }
            Wanted::Revision(revision) => {
                let commit = match self.resolve(&repo, revision) {
                    None if depth.is_some() => {
                        // It lies deeper than what was loaded.
                        self.fetch(&repo, &specs, Shallow::undo())?;
                        self.resolve(&repo, revision)
                    }
                    commit => commit,
                };
                let commit = commit.ok_or_else(|| {
                    Error::Refused(format!("artifacts[].git.revision: {} has no {revision:?}", self.url))
                })?;
                self.detach(&repo, commit)?;
                commit
            }
            Wanted::Commit(commit) => {
                if !repo.has_object(commit) {
                    self.fetch(&repo, &[format!("{commit}:refs/tiphys/{commit}")], Shallow::NoChange)?;
                }
                self.detach(&repo, *commit)?;
                *commit
            }
        };
        checkout(&repo, commit)?;
        Ok(repo)
    }

    /// An empty repository with its remote.
    fn init(&self, dest: &Path) -> std::result::Result<Repository, Failure> {
        let git = dest.join(".git");
        // A submodule's folder is there already, empty.
        gix::create::into(dest, gix::create::Kind::WithWorktree, gix::create::Options::default())?;
        let file = git.join("config");
        let at = |source| Error::io(|| format!("writing {}", file.display()), source);
        let mut text = std::fs::read_to_string(&file).map_err(at)?;
        let url = self.url.as_str().replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(&format!("[remote \"origin\"]\n\turl = \"{url}\"\n\tfetch = {BRANCHES}\n"));
        std::fs::write(&file, text).map_err(at)?;
        // Nothing but the repository's own configuration counts: no file of the machine, no variable.
        let mut repo = gix::open_opts(dest, gix::open::Options::isolated())?;
        repo.committer_or_set_generic_fallback()?;
        Ok(repo)
    }

    fn fetch(&self, repo: &Repository, specs: &[String], shallow: Shallow) -> std::result::Result<Head, Failure> {
        let requests = self.remote.web.requests(&self.remote.runtime);
        let fault = requests.fault();
        let outcome = self.fetch_with(repo, specs, shallow, requests);
        if let Some(cause) = fault.take() {
            return Err(cause.into());
        }
        outcome
    }

    fn fetch_with(
        &self,
        repo: &Repository,
        specs: &[String],
        shallow: Shallow,
        requests: super::web::Requests,
    ) -> std::result::Result<Head, Failure> {
        let url = gix::url::parse(self.url.as_str().as_bytes().as_bstr())?;
        let transport = Transport::new_http(requests, url.clone(), Protocol::V2, false);
        let specs = specs.iter().map(|spec| BStr::new(spec.as_bytes()));
        let remote = repo.remote_at_without_url_rewrite(url)?.with_refspecs(specs, Direction::Fetch)?;
        let remote = remote.with_fetch_tags(Tags::None);
        let mut options = gix::remote::ref_map::Options::default();
        // Which branch is the remote's own.
        let head = gix::refspec::parse("HEAD".into(), gix::refspec::parse::Operation::Fetch)?;
        options.extra_refspecs.push(head.to_owned());
        let connection = remote.to_connection_with_transport(transport).with_credentials(|_| Ok(None));
        let fetch = connection.prepare_fetch(Discard, options)?.with_shallow(shallow);
        let outcome = fetch.receive(Discard, &AtomicBool::new(false))?;
        let mut found = Head { refs: 0, branch: None, commit: None };
        for known in &outcome.ref_map.remote_refs {
            found.refs += usize::from(!matches!(known, Ref::Unborn { .. }));
            match known {
                Ref::Symbolic { full_ref_name, target, object, .. } if full_ref_name == "HEAD" => {
                    found.branch = target.strip_prefix(b"refs/heads/").map(|name| name.to_str_lossy().into_owned());
                    found.commit = Some(*object);
                }
                Ref::Direct { full_ref_name, object } if full_ref_name == "HEAD" => found.commit = Some(*object),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Makes the branch `name` the current one; without a name the commit alone.
    fn branch(
        &self,
        repo: &mut Repository,
        name: Option<&str>,
        head: Option<ObjectId>,
    ) -> std::result::Result<ObjectId, Failure> {
        let Some(name) = name else {
            let commit = head.ok_or_else(|| Error::Refused(format!("{} has no HEAD: name a revision", self.url)))?;
            self.detach(repo, commit)?;
            return Ok(commit);
        };
        let there = repo.try_find_reference(&format!("refs/remotes/origin/{name}"))?;
        let commit = there.and_then(|there| there.into_fully_peeled_id().ok()).map(|id| id.detach());
        let commit = commit
            .ok_or_else(|| Error::Refused(format!("artifacts[].git.branch: {} has no branch {name:?}", self.url)))?;
        repo.reference(format!("refs/heads/{name}"), commit, PreviousValue::Any, "clone")?;
        let file = repo.git_dir().join("HEAD");
        let at = |source| Error::io(|| format!("writing {}", file.display()), source);
        std::fs::write(&file, format!("ref: refs/heads/{name}\n")).map_err(at)?;
        Ok(commit)
    }

    /// Makes HEAD the commit itself.
    fn detach(&self, repo: &Repository, commit: ObjectId) -> std::result::Result<(), Failure> {
        let file = repo.git_dir().join("HEAD");
        let at = |source| Error::io(|| format!("writing {}", file.display()), source);
        Ok(std::fs::write(&file, format!("{commit}\n")).map_err(at)?)
    }

    /// The commit that a revision names: a branch or tag, a hash or its beginning, or an expression such as `main~2`.
    fn resolve(&self, repo: &Repository, revision: &str) -> Option<ObjectId> {
        let names = [revision.to_owned(), format!("refs/remotes/origin/{revision}")];
        let found = names.iter().find_map(|name| repo.rev_parse_single(name.as_str()).ok());
        let commit = found?.object().ok()?.peel_to_commit().ok()?;
        Some(commit.id)
    }
}

/// What the remote says of itself.
struct Head {
    /// How many refs it has.
    refs: usize,
    branch: Option<String>,
    commit: Option<ObjectId>,
}

/// Writes the work tree of `commit`, which is empty.
fn checkout(repo: &Repository, commit: ObjectId) -> std::result::Result<(), Failure> {
    let tree = repo.find_object(commit)?.peel_to_tree()?.id;
    let mut index = repo.index_from_tree(&tree)?;
    let Some(workdir) = repo.workdir() else { return Ok(()) };
    let mut options = repo.checkout_options(gix::worktree::stack::state::attributes::Source::IdMapping)?;
    options.destination_is_initially_empty = true;
    let objects = repo.objects.clone().into_arc().map_err(|source| Error::io(|| "opening objects".into(), source))?;
    let stop = AtomicBool::new(false);
    let done = gix::worktree::state::checkout(&mut index, workdir, objects, &Discard, &Discard, &stop, options)?;
    if let Some(failed) = done.errors.first() {
        return Err(Error::permanent(format!("checking out {}", failed.path), failed.error.to_string()).into());
    }
    if let Some(clash) = done.collisions.first() {
        return Err(Error::permanent(format!("checking out {}", clash.path), "two files have this name here").into());
    }
    index.write(Default::default())?;
    Ok(())
}
