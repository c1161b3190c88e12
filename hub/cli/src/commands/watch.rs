//! `starling get --watch`: prints what changed, after each notice of the hub.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use starling_proto::v1;
use tokio::time::{Instant, sleep};

use crate::arguments::look::ListFormat;
use crate::contexts::target::Target;
use crate::failure::{Exit, Failure};
use crate::hub::{Answers, Hub};
use crate::render::age::now;
use crate::render::document::json_line;
use crate::render::paint::Paint;
use crate::render::table::{Cell, Table};
use crate::terminal::{Output, warn};
use crate::views::{Query, View, list_all};

/// Lists are asked for at most this often, however fast the fleet changes.
const BETWEEN_LISTS: Duration = Duration::from_millis(500);

/// The wait before a lost hub is dialled again.
const BEFORE_REDIAL: Duration = Duration::from_secs(1);

/// What happened to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum EventType {
    Added,
    Modified,
    Deleted,
}

/// One change, as documents show it.
#[derive(Debug, Serialize)]
struct Event<'a, T> {
    #[serde(rename = "type")]
    event_type: EventType,
    kind: &'static str,
    object: &'a T,
}

struct Watcher<T> {
    known: BTreeMap<String, T>,
    format: ListFormat,
    table: Table,
}

/// Prints the list, then every change, until interrupted; a hub that goes away is dialled again.
///
/// # Errors
/// When the hub stays away for longer than the deadline of a call, or refuses.
pub(super) async fn run<T: View>(
    hub: Hub,
    target: &Target,
    query: &Query,
    format: ListFormat,
    header: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let wide = format == ListFormat::Wide;
    let table = Table::new(T::COLUMNS, wide, header, output.terminal.width());
    let mut watcher = Watcher { known: BTreeMap::<String, T>::new(), format, table };
    let mut hub = hub;
    let mut heard = Instant::now();
    loop {
        let failure = match follow(&hub, query, &mut watcher, &mut heard, output).await {
            Ok(()) => Failure::new(Exit::Unreachable, "the hub ended the watch"),
            Err(failure) if failure.is_passing() && heard.elapsed() < hub.deadline() => failure,
            Err(failure) => return Err(failure),
        };
        warn(&output.terminal, &format!("{failure}; dialling again"));
        hub = redial(target, hub.deadline(), failure).await?;
    }
}

/// Follows one connection to its end; `heard` is when the hub was last known to answer.
async fn follow<T: View>(
    hub: &Hub,
    query: &Query,
    watcher: &mut Watcher<T>,
    heard: &mut Instant,
    output: &mut Output,
) -> Result<(), Failure> {
    // The watch opens before the first list, so that no change falls between them.
    let mut notices: Answers<v1::WatchResponse> =
        hub.stream(v1::WatchRequest {}, None, |mut client, request| async move { client.watch(request).await }).await?;
    loop {
        watcher.show(list_all(hub, query).await?, output)?;
        output.flush()?;
        sleep(BETWEEN_LISTS).await;
        let notice = notices.next().await;
        // Until now the connection was alive, however quiet: its keep-alive would have ended it.
        *heard = Instant::now();
        if notice?.is_none() {
            return Ok(());
        }
    }
}

async fn redial(target: &Target, deadline: Duration, lost: Failure) -> Result<Hub, Failure> {
    let end = Instant::now() + deadline;
    let mut last = lost;
    while Instant::now() < end {
        sleep(BEFORE_REDIAL).await;
        match Hub::connect(target, deadline).await {
            Ok(hub) => return Ok(hub),
            Err(failure) if failure.is_passing() => last = failure,
            Err(failure) => return Err(failure),
        }
    }
    Err(last)
}

impl<T: View> Watcher<T> {
    fn show(&mut self, items: Vec<T>, output: &mut Output) -> Result<(), Failure> {
        let changes = changes(&mut self.known, items);
        match self.format {
            ListFormat::Table | ListFormat::Wide => {
                let now = now();
                let rows: Vec<_> = changes.iter().map(|(event, item)| row(*event, item, now)).collect();
                self.table.rows(output, &rows)
            }
            ListFormat::Json => changes.iter().try_for_each(|(event_type, object)| {
                output.line(json_line(&Event { event_type: *event_type, kind: T::KIND, object })?)
            }),
            ListFormat::Yaml => changes.iter().try_for_each(|(event_type, object)| {
                let event = Event { event_type: *event_type, kind: T::KIND, object };
                let text = serde_saphyr::to_string(&event)
                    .map_err(|error| Failure::new(Exit::Failed, format!("cannot print the document: {error}")))?;
                output.line(format!("---\n{}", text.trim_end()))
            }),
            ListFormat::Name => changes.iter().try_for_each(|(_, item)| output.line(item.reference())),
        }
    }
}

/// Returns what changed, in the order of the new list and then what is gone, and remembers the new list.
fn changes<T: View>(known: &mut BTreeMap<String, T>, items: Vec<T>) -> Vec<(EventType, T)> {
    let mut changes = Vec::new();
    let mut fresh = BTreeMap::new();
    for item in items {
        let reference = item.reference();
        match known.remove(&reference) {
            None if fresh.contains_key(&reference) => continue,
            None => changes.push((EventType::Added, item.clone())),
            Some(old) if old.steady() != item.steady() => changes.push((EventType::Modified, item.clone())),
            Some(_) => {}
        }
        fresh.insert(reference, item);
    }
    changes.extend(std::mem::replace(known, fresh).into_values().map(|gone| (EventType::Deleted, gone)));
    changes
}

fn row<T: View>(event: EventType, item: &T, now: starling_model::Millis) -> Vec<Cell> {
    let mut cells = item.cells(now);
    if event == EventType::Deleted
        && let Some(last) = cells.last_mut()
    {
        *last = Cell::painted("(gone)", Paint::Faint);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::problem::ProblemView;

    fn problem(name: &str, message: &str) -> ProblemView {
        ProblemView {
            file: "a.yaml".into(),
            line: 1,
            column: 2,
            kind: "Addon".into(),
            namespace: "w".into(),
            name: name.into(),
            message: message.into(),
            next: String::new(),
        }
    }

    #[test]
    fn only_what_changed_is_shown() {
        let mut known = BTreeMap::new();
        let mut events = |items: Vec<ProblemView>| -> Vec<(EventType, String)> {
            changes(&mut known, items).into_iter().map(|(event, item)| (event, item.name)).collect()
        };
        let (a, b) = ("a".to_owned(), "b".to_owned());
        assert_eq!(
            events(vec![problem("a", "x"), problem("b", "x")]),
            [(EventType::Added, a.clone()), (EventType::Added, b.clone())]
        );
        assert_eq!(events(vec![problem("a", "x"), problem("b", "y")]), [(EventType::Modified, b)]);
        assert_eq!(events(vec![problem("b", "y")]), [(EventType::Deleted, a)]);
        assert_eq!(events(vec![problem("b", "y")]), []);
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let object = problem("a", "first\nsecond");
        let line = json_line(&Event { event_type: EventType::Added, kind: "Problem", object: &object }).unwrap();
        assert!(line.starts_with(r#"{"type":"ADDED","kind":"Problem","object":{"file":"a.yaml","line":1"#), "{line}");
        assert!(!line.contains('\n'));
    }
}
