//! An artifact plugin that keeps artifacts in a folder: a server of Argo's artifact service, for tests. Its messages are
//! written down here once more, so that a mistake in ours is seen. `artifact_plugin FOLDER [nostream] SOCKET`
//!
//! Keys with `broken` in them fail, keys with `gone` are not found.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Plugin {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    configuration: String,
    #[prost(string, tag = "4")]
    key: String,
}

#[derive(Clone, PartialEq, Message)]
struct Artifact {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "5")]
    plugin: Option<Plugin>,
}

/// Load has the artifact first and the path second, Save the other way round.
#[derive(Clone, PartialEq, Message)]
struct Load {
    #[prost(message, optional, tag = "1")]
    artifact: Option<Artifact>,
    #[prost(string, tag = "2")]
    path: String,
}

#[derive(Clone, PartialEq, Message)]
struct Save {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(message, optional, tag = "2")]
    artifact: Option<Artifact>,
}

#[derive(Clone, PartialEq, Message)]
struct Frame {
    #[prost(message, optional, tag = "1")]
    artifact: Option<Artifact>,
    #[prost(bytes = "vec", tag = "2")]
    chunk: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Outcome {
    #[prost(bool, tag = "1")]
    success: bool,
    #[prost(string, tag = "2")]
    error: String,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
    #[prost(bool, tag = "2")]
    is_end: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Objects {
    #[prost(string, repeated, tag = "1")]
    objects: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Flag {
    #[prost(bool, tag = "1")]
    is: bool,
}

/// gRPC's number of a failure, and its message.
type Failure = (u32, &'static str);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (folder, socket) = (PathBuf::from(&words[0]), words.last().unwrap().clone());
    let streams = !words.iter().any(|word| word == "nostream");
    if words.iter().any(|word| word == "dies") {
        std::process::exit(3);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let folder = folder.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(folder.clone(), streams, request, respond));
                }
            });
        }
    });
}

async fn answer(folder: PathBuf, streams: bool, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    let method = request.uri().path().strip_prefix("/artifact.ArtifactService/").unwrap().to_owned();
    let frames = read(request.into_body()).await;
    let outcome = carry_out(&folder, streams, &method, &frames);
    let head = Response::builder().header("content-type", "application/grpc");
    let (code, message) = outcome.as_ref().err().copied().unwrap_or((0, ""));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.to_string().parse().unwrap());
    trailers.insert("grpc-message", message.replace(' ', "%20").parse().unwrap());
    match outcome {
        Err(_) => {
            let mut head = head.body(()).unwrap();
            *head.headers_mut() = trailers;
            respond.send_response(head, true).unwrap();
        }
        Ok(messages) => {
            let mut send = respond.send_response(head.body(()).unwrap(), false).unwrap();
            for message in messages {
                let mut frame = vec![0];
                frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
                frame.extend(message);
                send.send_data(frame.into(), false).unwrap();
            }
            send.send_trailers(trailers).unwrap();
        }
    }
}

/// The messages of a request.
async fn read(mut body: RecvStream) -> Vec<Bytes> {
    let mut bytes = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    let mut bytes = Bytes::from(bytes);
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes.get_u8(), 0, "no compression was agreed upon");
        let length = bytes.get_u32() as usize;
        frames.push(bytes.split_to(length));
    }
    frames
}

fn carry_out(folder: &Path, streams: bool, method: &str, frames: &[Bytes]) -> Result<Vec<Vec<u8>>, Failure> {
    let one = |message: &dyn Fn() -> Vec<u8>| Ok(vec![message()]);
    let done = Outcome { success: true, error: String::new() };
    let failed = Outcome { success: false, error: "it is broken".to_owned() };
    let key = |artifact: Option<Artifact>| artifact.unwrap().plugin.unwrap().key;
    match method {
        "GetCapabilities" => match streams {
            true => one(&|| Flag { is: true }.encode_to_vec()),
            false => Err((12, "unknown method")),
        },
        "Load" => {
            let load = Load::decode(frames[0].clone()).unwrap();
            let key = key(load.artifact);
            match () {
                () if key.contains("gone") => Err((5, "no such thing")),
                () if key.contains("broken") => one(&|| failed.encode_to_vec()),
                () => {
                    copy(&folder.join(key), Path::new(&load.path));
                    one(&|| done.encode_to_vec())
                }
            }
        }
        "Save" => {
            let save = Save::decode(frames[0].clone()).unwrap();
            let target = folder.join(key(save.artifact));
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            copy(Path::new(&save.path), &target);
            one(&|| done.encode_to_vec())
        }
        "SaveStream" => {
            let mut frames = frames.iter().map(|frame| Frame::decode(frame.clone()).unwrap());
            let head = frames.next().unwrap();
            assert!(head.chunk.is_empty());
            let target = folder.join(key(head.artifact));
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, frames.flat_map(|frame| frame.chunk).collect::<Vec<_>>()).unwrap();
            one(&|| done.encode_to_vec())
        }
        "OpenStream" => {
            let asked = Load::decode(frames[0].clone()).unwrap();
            let bytes = fs::read(folder.join(key(asked.artifact))).map_err(|_| (5, "no such thing"))?;
            let mut pieces: Vec<Vec<u8>> =
                bytes.chunks(1000).map(|data| Piece { data: data.to_vec(), is_end: false }.encode_to_vec()).collect();
            pieces.push(Piece { data: Vec::new(), is_end: true }.encode_to_vec());
            Ok(pieces)
        }
        "Delete" => {
            let key = key(Load::decode(frames[0].clone()).unwrap().artifact);
            if key.contains("broken") {
                return one(&|| failed.encode_to_vec());
            }
            let path = folder.join(key);
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            one(&|| done.encode_to_vec())
        }
        "ListObjects" => {
            let key = key(Load::decode(frames[0].clone()).unwrap().artifact);
            let mut objects: Vec<String> = fs::read_dir(folder.join(&key))
                .unwrap()
                .map(|entry| format!("{}/{}", key.trim_end_matches('/'), entry.unwrap().file_name().to_str().unwrap()))
                .collect();
            objects.sort();
            one(&|| Objects { objects: objects.clone() }.encode_to_vec())
        }
        "IsDirectory" => {
            let key = key(Load::decode(frames[0].clone()).unwrap().artifact);
            one(&|| Flag { is: folder.join(&key).is_dir() }.encode_to_vec())
        }
        _ => Err((12, "unknown method")),
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            copy(&path, &to.join(path.file_name().unwrap()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}
