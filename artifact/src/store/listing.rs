//! Pages of listings in XML, as the clouds' REST interfaces give them.

use aws_smithy_xml::decode::{Document, ScopedDecoder, XmlDecodeError, try_data};

use super::Entry;

/// A page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    pub(super) next: Option<String>,
}

/// Reads a page whose objects are elements `item` with their key in `name`. Lengths stand in `Size` or
/// `Content-Length`, directly or in `Properties`. Directories of hierarchical Azure accounts are left out.
pub(super) fn read(xml: &str, item: &str, name: &str, next: &str) -> Result<Page, XmlDecodeError> {
    let mut page = Page::default();
    let mut document = Document::new(xml);
    let mut root = document.root_element()?;
    objects(&mut root, item, name, next, &mut page)?;
    Ok(page)
}

fn objects(
    within: &mut ScopedDecoder<'_, '_>,
    item: &str,
    name: &str,
    next: &str,
    page: &mut Page,
) -> Result<(), XmlDecodeError> {
    while let Some(mut tag) = within.next_tag() {
        let local = tag.start_el().local().to_owned();
        if local == item {
            let mut found = Found::default();
            object(&mut tag, name, &mut found)?;
            if let (Some(key), false) = (found.key, found.directory) {
                page.entries.push(Entry { key, size: found.size });
            }
        } else if local == next {
            let token = try_data(&mut tag)?;
            page.next = (!token.is_empty()).then(|| token.into_owned());
        } else if local == "Blobs" {
            objects(&mut tag, item, name, next, page)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    key: Option<String>,
    size: u64,
    directory: bool,
}

fn object(within: &mut ScopedDecoder<'_, '_>, name: &str, found: &mut Found) -> Result<(), XmlDecodeError> {
    while let Some(mut tag) = within.next_tag() {
        let local = tag.start_el().local().to_owned();
        match local.as_str() {
            "Properties" | "Metadata" => object(&mut tag, name, found)?,
            "Size" | "Content-Length" => found.size = try_data(&mut tag)?.trim().parse().unwrap_or_default(),
            "ResourceType" => found.directory |= try_data(&mut tag)? == "directory",
            "hdi_isfolder" => found.directory |= try_data(&mut tag)? == "true",
            other if other == name => found.key = Some(try_data(&mut tag)?.into_owned()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_of_pages_are_read() {
        let xml = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://doc\"><Name>b</Name><IsTruncated>true</IsTruncated>\
                   <Contents><Key>a&amp;b &lt;&#252;&gt;</Key><ETag>\"x\"</ETag><Size>12</Size><Owner><ID>1</ID></Owner></Contents>\
                   <Contents><Key> spaced </Key><Size>0</Size></Contents>\
                   <NextContinuationToken>t/+=</NextContinuationToken></ListBucketResult>";
        let page = read(xml, "Contents", "Key", "NextContinuationToken").unwrap();
        assert_eq!(page.entries[0], Entry { key: "a&b <ü>".into(), size: 12 });
        assert_eq!((page.entries[1].key.as_str(), page.next.as_deref()), (" spaced ", Some("t/+=")));
        let xml = "<EnumerationResults ContainerName=\"c\"><Prefix>p</Prefix><Blobs>\
                   <Blob><Name>p/one</Name><Properties><Content-Length>5</Content-Length></Properties><Metadata /></Blob>\
                   <Blob><Name>p/dir</Name><Properties><Content-Length>0</Content-Length></Properties>\
                   <Metadata><hdi_isfolder>true</hdi_isfolder></Metadata></Blob></Blobs><NextMarker /></EnumerationResults>";
        let page = read(xml, "Blob", "Name", "NextMarker").unwrap();
        assert_eq!(page, Page { entries: vec![Entry { key: "p/one".into(), size: 5 }], next: None });
        assert!(read("no xml at all", "a", "b", "c").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_page_or_an_error(text in "\\PC{0,60}", cut in 0usize..200) {
            let _ = read(&text, "Contents", "Key", "N");
            let shaped = format!("<L><Contents><Key>{text}</Key><Size>{text}</Size></Contents><N>{text}</N></L>");
            let _ = read(&shaped, "Contents", "Key", "N");
            let cut = cut.min(shaped.len());
            if shaped.is_char_boundary(cut) {
                let _ = read(&shaped[..cut], "Contents", "Key", "N");
            }
        }
    }
}
