//! Lines of text in the making: white space folded, margins for quotations and lists, cells parted by a tab.
//!
//! Nothing is written before a letter needs it, so no line ends in blanks and no element that is empty leaves a trace.

use std::mem::take;

/// Margins beyond these are not drawn: every line would carry them.
const MOST_MARGINS: usize = 16;
/// A row goes on in the same line while that is no longer than this.
const LONGEST_ROW: usize = 160;

/// What stands between the last letter and the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Gap {
    /// Nothing.
    #[default]
    None,
    /// White space.
    Blank,
    /// A new line.
    Line,
    /// A blank line.
    Paragraph,
}

/// What stands at the beginning of each line.
enum Margin {
    /// The same on every line.
    Text(&'static str),
    /// A mark on the first line, and as many blanks on the others.
    Item { mark: String, is_written: bool },
}

#[derive(Default)]
struct Table {
    /// Whether it shows rows and columns; most tables in mail only put things in their place.
    is_ruled: bool,
    /// Cells of this row that have text.
    cells: usize,
    /// Whether this row takes more than one line.
    is_broken: bool,
    /// Whether this cell has text.
    has_text: bool,
    /// Whether a cell of this row has begun.
    has_begun: bool,
    /// Borders between cells since the last text of this row.
    borders: usize,
}

#[derive(Default)]
pub(super) struct Lines {
    out: String,
    gap: Gap,
    /// Where the current line begins.
    line: usize,
    /// Whether the margin of the current line is still to be written.
    is_bare: bool,
    margins: Vec<Margin>,
    /// How many margins have been open since the last letter.
    lasting: usize,
    tables: Vec<Table>,
    /// Where the first letter stands since it was asked to note that.
    noted: Option<usize>,
}

impl Lines {
    /// Notes where the next letter stands.
    pub(super) fn note(&mut self) {
        self.noted = None;
    }

    /// The text since the last note; empty when there is none.
    pub(super) fn noted(&self) -> &str {
        self.noted.and_then(|it| self.out.get(it..)).unwrap_or_default()
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        let text = self.out.trim_end();
        text.trim_start_matches('\n').to_owned()
    }

    /// Text of an element. `keeps` its white space or not.
    pub(super) fn text(&mut self, text: &str, keeps: bool) {
        for c in text.chars() {
            match c {
                '\n' if keeps => self.hard_line(),
                ' ' | '\t' if keeps => self.letter(c),
                // Without a breadth: it only pads, or says where a word may be cut.
                '\u{ad}' | '\u{34f}' | '\u{200b}' | '\u{2060}' | '\u{feff}' => {}
                // They shape the letters beside them; beside a blank they only pad.
                '\u{200c}' | '\u{200d}' if self.gap != Gap::None || self.is_line_empty() => {}
                c if c.is_whitespace() => self.gap = self.gap.max(Gap::Blank),
                c if c.is_control() => {}
                c => self.letter(c),
            }
        }
    }

    /// At least this gap comes before the next letter. At the beginning of a cell or an item there is none.
    pub(super) fn gap(&mut self, gap: Gap) {
        let is_at_start = self.tables.last().is_some_and(|it| it.has_begun && !it.has_text)
            || matches!(self.margins.last(), Some(Margin::Item { is_written: false, .. }));
        if !is_at_start {
            self.gap = self.gap.max(gap);
        }
    }

    /// At most this gap comes before the next letter.
    pub(super) fn at_most(&mut self, gap: Gap) {
        self.gap = self.gap.min(gap);
    }

    /// A line ends here; a second time, and one stays blank.
    pub(super) fn line_break(&mut self) {
        self.gap(if self.gap >= Gap::Line { Gap::Paragraph } else { Gap::Line });
    }

    /// Every line begins with this from here on. Returns whether it does.
    pub(super) fn margin(&mut self, text: &'static str) -> bool {
        self.widen(Margin::Text(text))
    }

    /// The next line begins with a mark, and those after it are set in. Returns whether they are.
    pub(super) fn item(&mut self, mark: String) -> bool {
        self.widen(Margin::Item { mark, is_written: false })
    }

    fn widen(&mut self, margin: Margin) -> bool {
        let has_room = self.margins.len() < MOST_MARGINS;
        if has_room {
            self.margins.push(margin);
        }
        has_room
    }

    /// The last margin ends.
    pub(super) fn end_margin(&mut self) {
        self.margins.pop();
        self.lasting = self.lasting.min(self.margins.len());
    }

    pub(super) fn begin_table(&mut self, is_ruled: bool) {
        self.tables.push(Table { is_ruled, ..Table::default() });
    }

    pub(super) fn begin_row(&mut self) {
        if let Some(table) = self.tables.last_mut() {
            *table = Table { is_ruled: table.is_ruled, ..Table::default() };
        }
    }

    pub(super) fn begin_cell(&mut self, is_heading: bool) {
        if let Some(table) = self.tables.last_mut() {
            table.is_ruled |= is_heading;
            table.borders += usize::from(take(&mut table.has_begun));
            (table.has_begun, table.has_text) = (true, false);
        }
    }

    pub(super) fn end_row(&mut self) {
        let cells = self.tables.last().map_or(0, |it| it.cells);
        self.begin_row();
        self.gap(Gap::Line);
        if cells > 1 {
            self.at_most(Gap::Line);
        }
    }

    pub(super) fn end_table(&mut self) {
        let is_ruled = self.tables.pop().is_some_and(|it| it.is_ruled);
        self.gap(if is_ruled { Gap::Paragraph } else { Gap::Line });
    }

    /// Puts this behind the text since the last note, or in its place where there is none.
    pub(super) fn suffix(&mut self, text: &str) {
        if self.noted.is_none() || self.is_bare {
            self.text(text, false);
        } else {
            self.out.push(' ');
            self.out.push_str(text);
        }
    }

    fn is_line_empty(&self) -> bool {
        self.out.is_empty() || self.is_bare
    }

    fn letter(&mut self, c: char) {
        let (entered, tabs) = self.enter_cells();
        match take(&mut self.gap) {
            _ if self.out.is_empty() => self.is_bare = true,
            Gap::None => {}
            Gap::Blank if tabs == 0 && !self.is_bare => self.out.push(' '),
            Gap::Blank => {}
            Gap::Line => self.new_line(),
            Gap::Paragraph => {
                self.new_line();
                let is_blank = self.out[..self.out.len() - 1].ends_with('\n');
                if !is_blank {
                    self.blank_margin();
                    self.out.push('\n');
                    self.line = self.out.len();
                }
            }
        }
        if take(&mut self.is_bare) {
            self.write_margin();
        }
        self.lasting = self.margins.len();
        self.tables.iter_mut().rev().take(entered).for_each(|it| it.cells += 1);
        self.out.extend(std::iter::repeat_n('\t', tabs));
        self.noted.get_or_insert(self.out.len());
        self.out.push(c);
    }

    /// A new line, unless one has just begun.
    fn new_line(&mut self) {
        if !self.is_bare {
            self.hard_line_here();
        }
    }

    fn hard_line(&mut self) {
        if self.gap >= Gap::Line {
            self.gap = Gap::None;
            self.new_line();
        }
        self.gap = Gap::None;
        if self.out.is_empty() {
            return;
        }
        if self.is_bare {
            self.blank_margin();
        }
        self.hard_line_here();
    }

    fn hard_line_here(&mut self) {
        for table in self.tables.iter_mut().rev().filter(|it| it.cells > 0) {
            if std::mem::replace(&mut table.is_broken, true) {
                break;
            }
        }
        self.out.push('\n');
        self.line = self.out.len();
        self.is_bare = true;
    }

    fn write_margin(&mut self) {
        for margin in &mut self.margins {
            match margin {
                Margin::Text(text) => self.out.push_str(text),
                Margin::Item { mark, is_written } => match std::mem::replace(is_written, true) {
                    false => self.out.push_str(mark),
                    true => self.out.extend(std::iter::repeat_n(' ', mark.len())),
                },
            }
        }
    }

    /// The margin of a line without text: what lasts over it, and no blanks at its end.
    fn blank_margin(&mut self) {
        let start = self.out.len();
        for margin in self.margins.iter().take(self.lasting) {
            match margin {
                Margin::Text(text) => self.out.push_str(text),
                Margin::Item { mark, .. } => self.out.extend(std::iter::repeat_n(' ', mark.len())),
            }
        }
        let end = start + self.out[start..].trim_end().len();
        self.out.truncate(end);
    }

    /// The next letter is the first of every cell that has none. Returns in how many tables, and the tabs that part it
    /// from the cell before.
    fn enter_cells(&mut self) -> (usize, usize) {
        let (mut entered, mut tabs) = (0, 0);
        let is_short = self.out.len() - self.line <= LONGEST_ROW;
        for table in self.tables.iter_mut().rev() {
            if std::mem::replace(&mut table.has_text, true) {
                break;
            }
            let borders = take(&mut table.borders);
            if table.cells > 0 && table.has_begun {
                if table.is_broken || !is_short {
                    self.gap = self.gap.max(Gap::Line);
                } else {
                    (self.gap, tabs) = (Gap::None, if table.is_ruled { borders } else { 1 });
                }
            } else if table.is_ruled {
                tabs = borders;
            }
            entered += 1;
        }
        (entered, tabs)
    }
}
