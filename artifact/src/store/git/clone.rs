//! A clone: the refs that are wanted, the work tree of one revision, and the submodules in it.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use gix::bstr::{BStr, ByteSlice};
use gix::progress::Discard;
use gix::protocol::handshake::Ref;
use gix::refs::transaction::PreviousValue;
use gix::remote::Direction;
use gix::remote::fetch::{Shallow, Tags};
use gix::{ObjectId, Repository};
use gix_transport::Protocol;
use gix_transport::client::blocking_io::Transport;
use gix_transport::client::blocking_io::http::Transport as Http;
use tokio::runtime::Handle;

use super::GitConfig;
use super::address::Address;
use super::fault::Fault;
use super::ssh::{Older, Ssh};
use super::web::Web;
use crate::error::{Error, Result};

/// Submodules in submodules; go-git ends there as well.
const DEEPEST: u32 = 10;
const TAGS: &str = "+refs/tags/*:refs/tags/*";
const BRANCHES: &str = "+refs/heads/*:refs/remotes/origin/*";
const LOCAL: &str = "+refs/heads/*:refs/heads/*";

/// What is cloned.
pub(super) struct Remote {
    pub(super) config: GitConfig,
    pub(super) address: Address,
    /// For repositories that are reached by HTTP.
    pub(super) web: Web,
    /// The same for ssh; none without a key.
    pub(super) ssh: Option<Ssh>,
    pub(super) runtime: Handle,
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
    /// Clones to `dest`, where nothing is.
    pub(super) fn run(&self, dest: &Path) -> Result<()> {
        let wanted = match self.config.revision.as_str() {
            "" => Wanted::Branch(self.config.single_branch.as_deref()),
            revision => Wanted::Revision(revision),
        };
        self.repository(&self.address, dest, &wanted, DEEPEST)
    }

    fn repository(&self, url: &Address, dest: &Path, wanted: &Wanted<'_>, deepest: u32) -> Result<()> {
        let job = Job { remote: self, url };
        let repo = job.run(dest, wanted).map_err(|error| match error {
            Failure::Ours(error) => error,
            Failure::Git(error) => Error::permanent(format!("cloning {url}"), chain(&error)),
        })?;
        match self.config.submodules {
            true => self.submodules(&repo, url, deepest),
            false => Ok(()),
        }
    }

    fn submodules(&self, repo: &Repository, url: &Address, deepest: u32) -> Result<()> {
        let fail = |error: gix::Error| Error::permanent(format!("reading the submodules of {url}"), chain(&error));
        let Some(workdir) = repo.workdir() else { return Ok(()) };
        let Some(modules) = repo.submodules().map_err(fail)? else { return Ok(()) };
        for module in modules {
            // Only what the tree itself holds as a submodule has a commit; its path was checked with the tree's.
            let Some(commit) = module.index_id().map_err(fail)? else { continue };
            let path = module.path().map_err(fail)?;
            let at = workdir.join(gix::path::from_bstr(path.as_bstr()).map_err(fail)?);
            let text = module.url().map_err(fail)?.to_bstring().to_string();
            let target = url.join(&text).ok_or_else(|| {
                Error::Refused(format!(
                    "submodule {path:?} of {url} is at {text:?}, which is no address of http, https or \
                     ssh: set artifacts[].git.disableSubmodules to true"
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
    url: &'a Address,
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
        let url = self.url.to_string().replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(&format!("[remote \"origin\"]\n\turl = \"{url}\"\n\tfetch = {BRANCHES}\n"));
        std::fs::write(&file, text).map_err(at)?;
        // Nothing but the repository's own configuration counts: no file of the machine, no variable.
        let mut repo = gix::open_opts(dest, gix::open::Options::isolated())?;
        repo.committer_or_set_generic_fallback()?;
        Ok(repo)
    }

    fn fetch(&self, repo: &Repository, specs: &[String], shallow: Shallow) -> std::result::Result<Head, Failure> {
        let fault = Fault::default();
        let outcome = self.connect(&fault).and_then(|connection| self.fetch_with(repo, specs, shallow, connection));
        // A request that failed says why, and of which class it is. A farewell to a server that is gone already is no
        // failure.
        outcome.map_err(|error| fault.take().map_or(error, Failure::Ours))
    }

    fn connect(&self, fault: &Fault) -> std::result::Result<(Box<dyn Transport>, Older), Failure> {
        match self.url {
            Address::Web(url) => {
                let requests = self.remote.web.requests(&self.remote.runtime, fault);
                let url = gix::url::parse(url.as_str().as_bytes().as_bstr())?;
                Ok((Box::new(Http::new_http(requests, url, Protocol::V2, false)), Older::default()))
            }
            Address::Ssh(host, path) => {
                let ssh = self.remote.ssh.as_ref().ok_or_else(|| {
                    let needs = "it is reached by ssh, which needs artifacts[].git.sshPrivateKeySecret";
                    Error::Refused(format!("{}: {needs}", self.url))
                })?;
                let connection = ssh.open(host, path, &self.url.to_string(), &self.remote.runtime, fault)?;
                let older = connection.older();
                Ok((Box::new(connection), older))
            }
        }
    }

    fn fetch_with(
        &self,
        repo: &Repository,
        specs: &[String],
        shallow: Shallow,
        (transport, older): (Box<dyn Transport>, Older),
    ) -> std::result::Result<Head, Failure> {
        let url = gix::url::parse(self.url.to_string().as_bytes().as_bstr())?;
        let specs = specs.iter().map(|spec| BStr::new(spec.as_bytes()));
        let remote = repo.remote_at_without_url_rewrite(url)?.with_refspecs(specs, Direction::Fetch)?;
        let remote = remote.with_fetch_tags(Tags::None);
        let mut options = gix::remote::ref_map::Options::default();
        // Which branch is the remote's own.
        let head = gix::refspec::parse("HEAD".into(), gix::refspec::parse::Operation::Fetch)?;
        options.extra_refspecs.push(head.to_owned());
        let connection = remote.to_connection_with_transport(transport).with_credentials(|_| Ok(None));
        let fetch = connection.prepare_fetch(Discard, options)?;
        // Of an older protocol in one lasting connection gix forgets where the history was cut off: all of it is loaded.
        let whole = older.load(Ordering::Relaxed);
        let fetch = fetch.with_shallow(if whole { Shallow::NoChange } else { shallow });
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
