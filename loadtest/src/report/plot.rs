//! Plot: axes, layers, the same in words, and the data behind it.
//!
//! ```text
//!   figure ─┬─ title, a sentence that tells the same as the picture
//!           ├─ legend: HTML, so that it wraps and long names fit
//!           ├─ svg.wide, svg.narrow: one of them is shown, by the screen's width
//!           └─ link to the data
//! ```
//! Builders of a plot give texts as they are; they are escaped here.

use std::fmt::Write;

use crate::report::axis::Axis;
use crate::report::csv::Csv;
use crate::report::draw;
use crate::report::html::escape;

/// Number of colours of the palette in `style.css`.
const COLOURS: usize = 7;
/// Number of dash patterns there, which has no common divisor with that of the colours:
/// 28 kinds of lines.
const DASHES: usize = 4;

/// Plot of a report.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Id of the plot, unique in the page: letters and digits.
    pub id: String,
    /// Title: what the plot shows.
    pub title: String,
    /// Words that tell the same as the picture.
    pub summary: String,
    /// Axis to the right.
    pub x: Axis,
    /// Axis upwards.
    pub y: Axis,
    /// Layers, in the order in which they are drawn.
    pub layers: Vec<Layer>,
    /// Parts of the x axis with a name.
    pub bands: Vec<Band>,
    /// Values of the y axis with a name.
    pub goals: Vec<Mark>,
    /// Values of the x axis with a name, ascending.
    pub marks: Vec<Mark>,
    /// Data of the plot.
    pub csv: Csv,
}

/// Layer: data of one kind.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Name in the legend.
    pub name: String,
    /// Colour and dashes.
    pub style: Style,
    /// Form in which the data is drawn.
    pub shape: Shape,
}

/// Form in which data is drawn.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Line, with a gap where y is no number.
    Line(Vec<(f64, f64)>),
    /// Bars from zero: begin, end, height.
    Bars(Vec<(f64, f64, f64)>),
    /// Dots.
    Dots(Vec<(f64, f64)>),
    /// Crosses.
    Crosses(Vec<(f64, f64)>),
}

/// Part of the x axis.
#[derive(Clone, Debug)]
pub struct Band {
    pub name: String,
    pub from: f64,
    pub to: f64,
}

/// Value with a name.
#[derive(Clone, Debug)]
pub struct Mark {
    pub name: String,
    pub at: f64,
}

/// Style of a layer, told apart by colour and by dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style(pub usize);

impl Style {
    /// Returns the class of the colour.
    pub fn colour(self) -> usize {
        self.0 % COLOURS
    }

    /// Returns the class of the dashes.
    pub fn dashes(self) -> usize {
        self.0 % DASHES
    }
}

impl Plot {
    /// Draws the plot as a figure.
    pub fn figure(&self) -> String {
        let mut out = String::new();
        let id = &self.id;
        let _ = writeln!(
            out,
            "<figure id=\"{id}\"><figcaption><h3>{}</h3><p>{}</p></figcaption>",
            escape(&self.title),
            escape(&self.summary)
        );
        self.legend(&mut out);
        draw::svg(&mut out, self, &draw::WIDE);
        draw::svg(&mut out, self, &draw::NARROW);
        let _ = writeln!(out, "<p class=\"data\">Data: {}</p></figure>", self.csv.link());
        out
    }

    /// Writes the legend; a single layer needs none, as the title says what it is.
    fn legend(&self, out: &mut String) {
        if self.layers.len() < 2 {
            return;
        }
        out.push_str("<ul class=\"legend\">");
        for layer in &self.layers {
            let (colour, dashes) = (layer.style.colour(), layer.style.dashes());
            let sample = match layer.shape {
                Shape::Line(_) => {
                    format!("<path class=\"line c{colour} d{dashes}\" d=\"M0 6h34\"/>")
                }
                Shape::Bars(_) => format!("<rect class=\"f{colour}\" width=\"34\" height=\"12\"/>"),
                Shape::Dots(_) => {
                    format!("<circle class=\"f{colour}\" cx=\"17\" cy=\"6\" r=\"4.5\"/>")
                }
                Shape::Crosses(_) => {
                    format!("<path class=\"line c{colour}\" d=\"M12 1l10 10m0-10l-10 10\"/>")
                }
            };
            let _ = write!(
                out,
                "<li><svg width=\"34\" height=\"12\" aria-hidden=\"true\">{sample}</svg> {}</li>",
                escape(&layer.name)
            );
        }
        out.push_str("</ul>\n");
    }
}
