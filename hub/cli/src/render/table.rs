//! Tables as kubectl prints them: columns three spaces apart, cut to the terminal in the last column only.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::paint::Paint;
use crate::failure::{Failure, one_line};
use crate::terminal::Output;

const GAP: usize = 3;

/// The last column keeps at least this width, however narrow the terminal is.
const LEAST_LAST_WIDTH: usize = 24;

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// The heading.
    pub(crate) title: &'static str,
    /// Shown with `-o wide` alone.
    pub(crate) wide: bool,
}

/// One cell: what it says, and what its colour says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    paint: Paint,
}

/// A table that prints row after row; widths come from the rows that it was shown before.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(usize, &'static str)>,
    widths: Vec<usize>,
    limit: Option<usize>,
    header_due: bool,
}

/// Makes a column that is always shown.
pub(crate) const fn column(title: &'static str) -> Column {
    Column { title, wide: false }
}

/// Makes a column of `-o wide`.
pub(crate) const fn wide_column(title: &'static str) -> Column {
    Column { title, wide: true }
}

impl Cell {
    /// Makes a cell without a colour; an empty text shows as `-`.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::painted(text, Paint::Plain)
    }

    /// Makes a cell with a colour.
    pub(crate) fn painted(text: impl Into<String>, paint: Paint) -> Self {
        let text = one_line(&text.into());
        let text = if text.is_empty() { "-".to_owned() } else { text };
        Self { text, paint }
    }

    /// Makes a cell of a number that means trouble unless it is zero.
    pub(crate) fn trouble(count: u64, paint: Paint) -> Self {
        Self::painted(count.to_string(), if count == 0 { Paint::Plain } else { paint })
    }

    /// Makes a cell of `part/whole`, green when whole.
    pub(crate) fn share(part: u64, whole: u64) -> Self {
        let paint = match (part, whole) {
            (0, 0) => Paint::Faint,
            _ if part >= whole => Paint::Good,
            _ => Paint::Busy,
        };
        Self::painted(format!("{part}/{whole}"), paint)
    }
}

impl Table {
    /// Makes a table; `limit` is the width of the terminal to which the last column is cut.
    pub(crate) fn new(columns: &[Column], wide: bool, header: bool, limit: Option<usize>) -> Self {
        let columns: Vec<_> = columns
            .iter()
            .enumerate()
            .filter(|(_, column)| wide || !column.wide)
            .map(|(index, column)| (index, column.title))
            .collect();
        let widths = columns.iter().map(|(_, title)| if header { title.width() } else { 0 }).collect();
        Self { columns, widths, limit: limit.filter(|_| !wide), header_due: header }
    }

    /// Makes a table that is printed whole, with its header, for a part of a longer text.
    pub(crate) fn print(output: &mut Output, columns: &[Column], rows: &[Vec<Cell>]) -> Result<(), Failure> {
        let mut table = Self::new(columns, false, true, output.terminal.width());
        table.rows(output, rows)
    }

    /// Prints rows, before the first ones the header; each row has a cell for every column, the wide ones included.
    pub(crate) fn rows(&mut self, output: &mut Output, rows: &[Vec<Cell>]) -> Result<(), Failure> {
        for row in rows {
            for (width, (index, _)) in self.widths.iter_mut().zip(&self.columns) {
                *width = (*width).max(row[*index].text.width());
            }
        }
        if self.header_due && !rows.is_empty() {
            self.header_due = false;
            let titles: Vec<_> = self.columns.iter().map(|(_, title)| Cell::painted(*title, Paint::Strong)).collect();
            output.line(self.layout(titles.iter(), &|text, paint| output.terminal.paint(text, paint)))?;
        }
        for row in rows {
            let cells = self.columns.iter().map(|(index, _)| &row[*index]);
            output.line(self.layout(cells, &|text, paint| output.terminal.paint(text, paint)))?;
        }
        Ok(())
    }

    fn layout<'a>(&self, cells: impl Iterator<Item = &'a Cell>, paint: &dyn Fn(&str, Paint) -> String) -> String {
        let mut line = String::new();
        let mut used = 0;
        let last = self.columns.len().saturating_sub(1);
        for (index, (cell, width)) in cells.zip(&self.widths).enumerate() {
            if index == last {
                let room = self.limit.map(|limit| limit.saturating_sub(used).max(LEAST_LAST_WIDTH));
                let text = room.map_or_else(|| cell.text.clone(), |room| cut(&cell.text, room));
                line.push_str(&paint(&text, cell.paint));
            } else {
                line.push_str(&paint(&cell.text, cell.paint));
                line.push_str(&" ".repeat(width - cell.text.width() + GAP));
                used += width + GAP;
            }
        }
        line
    }
}

/// Cuts a text to `room` columns of a terminal, with an ellipsis where something was cut.
fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut width = 0;
    let mut short: String = text
        .chars()
        .take_while(|c| {
            width += c.width().unwrap_or(0);
            width < room
        })
        .collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [column("NAME"), wide_column("ID"), column("MESSAGE")];

    fn render(table: &mut Table, rows: &[[&str; 3]]) -> Vec<String> {
        let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().map(|text| Cell::plain(*text)).collect()).collect();
        for row in &rows {
            for (width, (index, _)) in table.widths.iter_mut().zip(&table.columns) {
                *width = (*width).max(row[*index].text.width());
            }
        }
        let plain = |text: &str, _| text.to_owned();
        rows.iter().map(|row| table.layout(table.columns.iter().map(|(index, _)| &row[*index]), &plain)).collect()
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&COLUMNS, false, true, None);
        let lines = render(&mut table, &[["edge-1", "1", "good"], ["größe", "2", ""]]);
        assert_eq!(lines, ["edge-1   good", "größe    -"]);
    }

    #[test]
    fn wide_shows_more_and_cuts_nothing() {
        let mut table = Table::new(&COLUMNS, true, false, Some(30));
        let message = "a message that is longer than the terminal is wide";
        assert_eq!(render(&mut table, &[["a", "1", message]]), [format!("a   1   {message}")]);
    }

    #[test]
    fn the_last_column_is_cut_to_the_terminal() {
        let mut table = Table::new(&COLUMNS, false, false, Some(40));
        let lines = render(&mut table, &[["edge", "1", &"x".repeat(100)]]);
        assert_eq!(lines[0].width(), 40);
        assert!(lines[0].ends_with('…'));
    }

    #[test]
    fn messages_stay_on_one_line() {
        assert_eq!(Cell::plain("first\n  second").text, "first second");
        assert_eq!(Cell::share(2, 2).paint, Paint::Good);
        assert_eq!(Cell::trouble(0, Paint::Bad).paint, Paint::Plain);
    }
}
