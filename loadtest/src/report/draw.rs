//! Drawing of a plot as SVG, in one of two sizes.
//!
//! ```text
//!      unit
//!   label ┤────────────── grid
//!         │  layers        top … bottom
//!   label ┤──────────────
//!         └──┬────┬────┬─
//!          label  label      left … right
//!               title of x
//! ```
//! Labels are dropped where they would touch: a letter is taken as wide as a digit of the
//! usual fonts. Colours and dashes are classes of `style.css`.

use std::fmt::Write;

use crate::report::axis::Axis;
use crate::report::html::{escape, shortened};
use crate::report::plot::{Layer, Mark, Plot, Shape};

/// Size for desks and paper.
pub const WIDE: Size = Size { class: "wide", width: 820.0, height: 300.0, columns: 96 };
/// Size for phones.
pub const NARROW: Size = Size { class: "narrow", width: 340.0, height: 250.0, columns: 32 };
/// Width of a letter and height of a line, at the 12 px of `style.css`.
const LETTER: f64 = 6.9;
const LINE: f64 = 15.0;
/// Gap between a label and the axis, or the next label.
const GAP: f64 = 7.0;
/// Points per pixel beyond which lines show the extremes of each pixel.
const POINTS_PER_PIXEL: f64 = 2.0;

/// Size of plots; `class` says on which screens it is shown.
#[derive(Debug)]
pub struct Size {
    class: &'static str,
    width: f64,
    height: f64,
    /// Number of places that tell their values when pointed at.
    columns: usize,
}

/// Area in which the layers are drawn.
#[derive(Clone, Copy, Debug)]
struct Area {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Area {
    fn of(plot: &Plot, size: &Size) -> Area {
        let widest = plot.y.ticks.iter().map(|tick| width(&tick.label)).fold(0.0, f64::max);
        // The topmost label stands half above its grid line.
        let mut top = 2.0 * LINE;
        if !plot.bands.is_empty() || !plot.marks.is_empty() {
            top += LINE;
        }
        Area {
            left: widest + 2.0 * GAP,
            right: size.width - 2.0 * GAP,
            top,
            bottom: size.height - 2.0 * LINE - GAP,
        }
    }

    fn x(self, axis: &Axis, value: f64) -> f64 {
        self.left + axis.scale.at(value) * (self.right - self.left)
    }

    fn y(self, axis: &Axis, value: f64) -> f64 {
        self.bottom - axis.scale.at(value) * (self.bottom - self.top)
    }
}

fn width(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

/// Adds the drawing.
pub fn svg(out: &mut String, plot: &Plot, size: &Size) {
    let area = Area::of(plot, size);
    let (id, class) = (&plot.id, size.class);
    let _ = writeln!(
        out,
        "<svg class=\"plot {class}\" viewBox=\"0 0 {} {}\" role=\"img\" \
         aria-labelledby=\"{id}-{class}-t {id}-{class}-d\">\
         <title id=\"{id}-{class}-t\">{}</title><desc id=\"{id}-{class}-d\">{}</desc>",
        size.width,
        size.height,
        escape(&plot.title),
        escape(&plot.summary)
    );
    bands(out, plot, area);
    axes(out, plot, area);
    marks(out, plot, area);
    plot.layers.iter().for_each(|layer| draw_layer(out, plot, area, layer));
    tips(out, plot, area, size);
    out.push_str("</svg>\n");
}

fn bands(out: &mut String, plot: &Plot, area: Area) {
    for (at, band) in plot.bands.iter().enumerate() {
        let (from, to) = (area.x(&plot.x, band.from), area.x(&plot.x, band.to));
        let (top, height) = (area.top, area.bottom - area.top);
        if at % 2 == 0 {
            let _ = write!(
                out,
                "<rect class=\"band\" x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{height}\"/>",
                to - from
            );
        }
        let letters = ((to - from - 4.0) / LETTER) as usize;
        if letters >= 2 {
            let (x, y) = (from + 3.0, top - 5.0);
            let name = shortened(&band.name, letters);
            let _ = write!(
                out,
                "<text class=\"minor\" x=\"{x:.1}\" y=\"{y}\">{}</text>",
                escape(&name)
            );
        }
    }
}

fn axes(out: &mut String, plot: &Plot, area: Area) {
    let Area { left, right, top, bottom } = area;
    let mut lowest = f64::INFINITY;
    for tick in &plot.y.ticks {
        let y = area.y(&plot.y, tick.at);
        let _ = write!(out, "<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>");
        if y + LINE > lowest {
            continue;
        }
        lowest = y;
        let (x, y, label) = (left - GAP, y + 4.0, escape(&tick.label));
        let _ = write!(out, "<text class=\"end\" x=\"{x:.1}\" y=\"{y:.1}\">{label}</text>");
    }
    let _ = write!(
        out,
        "<text class=\"minor\" x=\"2\" y=\"{LINE}\">{}</text>",
        escape(&shortened(&plot.y.title, (right / LETTER) as usize))
    );

    let mut free_from = 0.0;
    for tick in &plot.x.ticks {
        let x = area.x(&plot.x, tick.at);
        let half = width(&tick.label) / 2.0;
        // The last label would stand out of the picture.
        let middle = x.min(right + 2.0 * GAP - half - 1.0);
        let _ = write!(out, "<path class=\"axis\" d=\"M{x:.1} {bottom:.1}v5\"/>");
        if middle - half < free_from {
            continue;
        }
        free_from = middle + half + GAP;
        let (y, label) = (bottom + LINE + 3.0, escape(&tick.label));
        let _ = write!(out, "<text class=\"middle\" x=\"{middle:.1}\" y=\"{y:.1}\">{label}</text>");
    }
    let y = bottom + 2.0 * LINE + 3.0;
    let title = shortened(&plot.x.title, ((right - left) / LETTER) as usize);
    let title = escape(&title);
    let _ = write!(out, "<text class=\"minor end\" x=\"{right:.1}\" y=\"{y:.1}\">{title}</text>");
    let _ =
        writeln!(out, "<path class=\"axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\"/>");
}

fn marks(out: &mut String, plot: &Plot, area: Area) {
    for Mark { name, at } in &plot.goals {
        let y = area.y(&plot.y, *at);
        // Above the line, or below it where there is no room.
        let text_y = if y - LINE < area.top { y + LINE } else { y - 5.0 };
        let (left, right) = (area.left, area.right);
        let _ = write!(out, "<path class=\"goal\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>");
        let (x, name) = (left + 4.0, escape(name));
        let _ = write!(out, "<text x=\"{x:.1}\" y=\"{text_y:.1}\">{name}</text>");
    }
    let mut free_from = 0.0;
    for Mark { name, at } in &plot.marks {
        let (x, half) = (area.x(&plot.x, *at), width(name) / 2.0);
        let (top, bottom) = (area.top, area.bottom);
        let _ = write!(out, "<path class=\"goal\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>");
        let middle = x.max(free_from + half).min(area.right + 2.0 * GAP - half);
        if middle - half < free_from {
            continue;
        }
        free_from = middle + half + GAP;
        let (y, name) = (top - 5.0, escape(name));
        let _ = write!(out, "<text class=\"middle\" x=\"{middle:.1}\" y=\"{y:.1}\">{name}</text>");
    }
}

fn draw_layer(out: &mut String, plot: &Plot, area: Area, layer: &Layer) {
    let (colour, dashes) = (layer.style.colour(), layer.style.dashes());
    let place = |(x, y): (f64, f64)| (area.x(&plot.x, x), area.y(&plot.y, y));
    match &layer.shape {
        Shape::Line(points) => {
            let places: Vec<(f64, f64)> = points.iter().map(|&point| place(point)).collect();
            let path = path(&thinned(&places, area));
            let _ = writeln!(out, "<path class=\"line c{colour} d{dashes}\" d=\"{path}\"/>");
        }
        Shape::Bars(bars) => {
            for &(from, to, height) in bars {
                let (x, y) = place((from, height));
                let end = area.x(&plot.x, to);
                let (wide, high) = ((end - x - 1.0).max(0.7), area.bottom - y);
                let tip = format!(
                    "{} to {}: {}",
                    plot.x.show(from),
                    plot.x.show(to),
                    plot.y.show(height)
                );
                let _ = write!(
                    out,
                    "<rect class=\"f{colour}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" \
                     height=\"{high:.1}\"><title>{}</title></rect>",
                    escape(&tip)
                );
            }
            out.push('\n');
        }
        Shape::Dots(points) => {
            for (x, y) in points.iter().map(|&point| place(point)) {
                let _ = write!(
                    out,
                    "<circle class=\"f{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>"
                );
            }
        }
        Shape::Crosses(points) => {
            for (x, y) in points.iter().map(|&point| place(point)) {
                let (x, y) = (x - 5.0, y - 5.0);
                let _ = write!(
                    out,
                    "<path class=\"line c{colour}\" d=\"M{x:.1} {y:.1}l10 10m0-10l-10 10\"/>"
                );
            }
        }
    }
}

/// Returns the extremes of each pixel where there are more points than pixels.
fn thinned(places: &[(f64, f64)], area: Area) -> Vec<(f64, f64)> {
    let pixels = (area.right - area.left) * POINTS_PER_PIXEL;
    if (places.len() as f64) <= pixels {
        return places.to_vec();
    }
    let mut kept = Vec::new();
    let mut rest = places;
    while let Some(first) = rest.first() {
        let pixel = first.0.floor();
        let length = rest.iter().take_while(|place| place.0.floor() == pixel).count();
        let (column, others) = rest.split_at(length.max(1));
        rest = others;
        let known = || column.iter().enumerate().filter(|(_, place)| !place.1.is_nan());
        let least = known().min_by(|a, b| a.1.1.total_cmp(&b.1.1));
        let most = known().max_by(|a, b| a.1.1.total_cmp(&b.1.1));
        let Some(((least, _), (most, _))) = least.zip(most) else {
            kept.push((first.0, f64::NAN));
            continue;
        };
        kept.push(column[least.min(most)]);
        if least != most {
            kept.push(column[least.max(most)]);
        }
    }
    kept
}

fn path(places: &[(f64, f64)]) -> String {
    let mut path = String::new();
    let mut down = false;
    for (at, &(x, y)) in places.iter().enumerate() {
        if y.is_nan() {
            down = false;
            continue;
        }
        let _ = write!(path, "{}{x:.1} {y:.1}", if down { 'L' } else { 'M' });
        // A point between two gaps is a dot: the ends of lines are round.
        let alone = places.get(at + 1).is_none_or(|next| next.1.is_nan());
        if !down && alone {
            path.push_str("h.01");
        }
        down = true;
    }
    path
}

/// Draws upright stripes that tell the values under them when pointed at.
fn tips(out: &mut String, plot: &Plot, area: Area, size: &Size) {
    let is_line = |layer: &&Layer| !matches!(layer.shape, Shape::Bars(_));
    if !plot.layers.iter().any(|layer| is_line(&layer)) {
        return;
    }
    out.push_str("<g class=\"tips\">");
    let wide = (area.right - area.left) / size.columns as f64;
    for column in 0..size.columns {
        let share = (column as f64 + 0.5) / size.columns as f64;
        let at = plot.x.scale.value(share);
        let mut tip = plot.x.show(at);
        for layer in plot.layers.iter().filter(is_line) {
            let (Shape::Line(points) | Shape::Dots(points) | Shape::Crosses(points)) = &layer.shape
            else {
                continue;
            };
            let (near, is_dot) = (nearest(points, at), !matches!(layer.shape, Shape::Line(_)));
            let Some((x, y)) = near else { continue };
            // Dots are told where they are.
            if is_dot && (plot.x.scale.at(x) - share).abs() > 0.5 / size.columns as f64 {
                continue;
            }
            let _ = write!(tip, "\n{}: {}", layer.name, plot.y.show(y));
        }
        let (x, y, high) = (area.left + column as f64 * wide, area.top, area.bottom - area.top);
        let _ = write!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{wide:.1}\" height=\"{high:.1}\"><title>{}</title></rect>",
            escape(&tip)
        );
    }
    out.push_str("</g>");
}

/// Returns the point with the nearest x; `None` if that is a gap. Points ascend.
fn nearest(points: &[(f64, f64)], at: f64) -> Option<(f64, f64)> {
    let behind = points.partition_point(|point| point.0 < at);
    let candidates = [behind.checked_sub(1), Some(behind)].into_iter().flatten();
    let near = candidates.filter_map(|index| points.get(index).copied());
    near.min_by(|a, b| (a.0 - at).abs().total_cmp(&(b.0 - at).abs()))
        .filter(|near| !near.1.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: Area = Area { left: 0.0, right: 100.0, top: 0.0, bottom: 100.0 };

    #[test]
    fn a_gap_is_not_drawn_over() {
        let nan = f64::NAN;
        assert_eq!(
            path(&[(0.0, 1.0), (1.0, 2.0), (2.0, nan), (3.0, 4.0)]),
            "M0.0 1.0L1.0 2.0M3.0 4.0h.01"
        );
        assert_eq!(path(&[(0.0, nan)]), "");
    }

    #[test]
    fn many_points_are_thinned_to_the_extremes_of_each_pixel() {
        let mut points: Vec<(f64, f64)> =
            (0..10_000).map(|at| (f64::from(at) / 100.0, 50.0)).collect();
        points[5050].1 = 3.0;
        points[5051].1 = 97.0;
        let kept = thinned(&points, AREA);
        assert!(kept.len() <= 200, "{}", kept.len());
        assert!(kept.contains(&points[5050]) && kept.contains(&points[5051]));
    }

    #[test]
    fn the_nearest_point_is_told_unless_it_is_a_gap() {
        let points = [(0.0, 1.0), (10.0, 2.0), (20.0, f64::NAN)];
        assert_eq!(nearest(&points, 6.0), Some((10.0, 2.0)));
        assert_eq!(nearest(&points, -9.0), Some((0.0, 1.0)));
        assert_eq!(nearest(&points, 17.0), None);
        assert_eq!(nearest(&[], 17.0), None);
    }
}
