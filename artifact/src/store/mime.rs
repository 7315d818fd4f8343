//! Content types by the ending of a key, so that a browser shows an artifact instead of saving it.

/// The type for `key`; `application/octet-stream` where its ending says nothing.
pub(super) fn of(key: &str) -> &'static str {
    let name = key.rsplit('/').next().unwrap_or(key);
    let Some((_, ending)) = name.rsplit_once('.') else { return "application/octet-stream" };
    match ending.to_ascii_lowercase().as_str() {
        "avi" => "video/x-msvideo",
        "bz2" => "application/x-bzip2",
        "css" => "text/css; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "gif" => "image/gif",
        "gz" => "application/gzip",
        "htm" | "html" => "text/html; charset=utf-8",
        "ico" => "image/vnd.microsoft.icon",
        "jpeg" | "jpg" => "image/jpeg",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "ipynb" => "application/json",
        "log" | "txt" => "text/plain; charset=utf-8",
        "md" => "text/markdown; charset=utf-8",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "parquet" => "application/vnd.apache.parquet",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "tar" => "application/x-tar",
        "tgz" => "application/x-gtar-compressed",
        "wasm" => "application/wasm",
        "wav" => "audio/x-wav",
        "webp" => "image/webp",
        "xml" => "text/xml; charset=utf-8",
        "yaml" | "yml" => "application/yaml",
        "zip" => "application/zip",
        "zst" => "application/zstd",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_last_ending_of_the_name_counts() {
        assert_eq!(super::of("wf/pod/report.HTML"), "text/html; charset=utf-8");
        assert_eq!(super::of("wf.json/main"), "application/octet-stream");
        assert_eq!(super::of("wf/pod/main.log"), "text/plain; charset=utf-8");
    }
}
