//! What lets an upload in parts go on in a new process: the caller keeps a few bytes for each upload under way, and the
//! parts that the store has already are not sent again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::store::objects::{Checked, Sent, Upload};

/// Where uploads under way are remembered. Calls come from many uploads at once; what they write should be on disk when
/// they return, which is only a few times a second. A failure to write costs no more than sending parts again, so it
/// is the journal's own to report.
pub trait Journal: Send + Sync {
    /// The unfinished upload of `what` (store and key, as [`crate::Store::describe`] names them).
    fn unfinished(&self, what: &str) -> Option<Resume>;

    /// Remembers how far the upload of `what` has come.
    fn note(&self, what: &str, resume: &Resume);

    /// There is no upload of `what` any more.
    fn forget(&self, what: &str);

    /// Whether anything is remembered. If so, an upload that fails for now stays on the server, to be gone on with;
    /// otherwise it is removed there.
    fn remembers(&self) -> bool {
        true
    }
}

/// No journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn unfinished(&self, _what: &str) -> Option<Resume> {
        None
    }

    fn note(&self, _what: &str, _resume: &Resume) {}

    fn forget(&self, _what: &str) {}

    fn remembers(&self) -> bool {
        false
    }
}

/// How far an upload has come. It holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    pub(crate) upload: Upload,
    pub(crate) part_size: usize,
    pub(crate) sent: BTreeMap<u32, Sent>,
}

impl Resume {
    /// As text for [`Resume::from_text`].
    pub fn to_text(&self) -> String {
        let sent = self.sent.values().map(|sent| json!([sent.number, sent.size, sent.sum, sent.tag]));
        let checked = match self.upload.checked {
            Checked::No => "no",
            Checked::Parts => "parts",
            Checked::Whole => "whole",
        };
        let sent: Vec<Value> = sent.collect();
        json!({"id": self.upload.id, "checked": checked, "partSize": self.part_size, "sent": sent}).to_string()
    }

    /// Reads what [`Resume::to_text`] wrote; `None` for anything else, such as a text that was cut.
    pub fn from_text(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let mut sent = BTreeMap::new();
        for part in value["sent"].as_array()? {
            let number = u32::try_from(part[0].as_u64()?).ok()?;
            let tag = part[3].as_str()?.to_owned();
            sent.insert(number, Sent { number, size: part[1].as_u64()?, sum: part[2].as_u64()?, tag });
        }
        let checked = match value["checked"].as_str()? {
            "no" => Checked::No,
            "parts" => Checked::Parts,
            "whole" => Checked::Whole,
            _ => return None,
        };
        let upload = Upload { id: value["id"].as_str()?.to_owned(), checked };
        let part_size = usize::try_from(value["partSize"].as_u64()?).ok().filter(|size| *size > 0)?;
        Some(Resume { upload, part_size, sent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_comes_back_from_its_text() {
        let sent = Sent { number: 7, size: 8 << 20, sum: u64::MAX, tag: "\"etag\"".into() };
        let upload = Upload { id: "id/+\"x".into(), checked: Checked::Whole };
        let resume = Resume { upload, part_size: 8 << 20, sent: BTreeMap::from([(7, sent)]) };
        let text = resume.to_text();
        assert_eq!(Resume::from_text(&text), Some(resume));
        assert!(
            (0..text.len()).filter(|at| text.is_char_boundary(*at)).all(|at| Resume::from_text(&text[..at]).is_none())
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in "\\PC{0,80}", id in "\\PC{0,9}", size in any::<i64>(), part in "\\PC{0,9}") {
            let _ = Resume::from_text(&text);
            let shaped = format!("{{\"id\": {id:?}, \"checked\": \"no\", \"partSize\": {size}, \"sent\": [{part}]}}");
            let _ = Resume::from_text(&shaped);
        }
    }
}
