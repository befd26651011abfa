//! Plots as SVG: lines over a logarithmic or a plain axis. No font, script or style from elsewhere.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
const COLOURS: [&str; 4] = ["#1f6fb4", "#d0662b", "#3a8f3a", "#7b5aa6"];

/// A line of a plot.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) across: &'static str,
    /// Whether a step to the right multiplies.
    pub(crate) logarithmic: bool,
    pub(crate) lines: Vec<Line>,
}

impl Plot {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let scaled = |x: f64| if self.logarithmic { x.max(1.0).log10() } else { x };
        let low = all().map(|(x, _)| scaled(*x)).fold(f64::INFINITY, f64::min);
        let high = all().map(|(x, _)| scaled(*x)).fold(f64::NEG_INFINITY, f64::max);
        let most = nice(all().map(|(_, y)| *y).fold(0.0, f64::max));
        let across = (high - low).max(f64::MIN_POSITIVE);
        let x_at = |x: f64| LEFT + (scaled(x) - low) / across * (WIDTH - LEFT - RIGHT);
        let y_at = |y: f64| HEIGHT - BOTTOM - y / most * (HEIGHT - TOP - BOTTOM);

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{}</text>\n",
            self.title
        );
        for step in 0..=4 {
            let value = most * f64::from(step) / 4.0;
            let y = y_at(value);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                label(value)
            );
        }
        for x in self.ticks(low, high) {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x_at(x),
                HEIGHT - BOTTOM + 16.0,
                label(x)
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 12.0,
            self.across
        );
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let points: Vec<String> =
                line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", x_at(*x), y_at(*y))).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                points.join(" ")
            );
            if line.points.len() <= 20 {
                for (x, y) in &line.points {
                    let _ = writeln!(
                        svg,
                        "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                        x_at(*x),
                        y_at(*y)
                    );
                }
            }
            let at = TOP + 4.0 + 16.0 * f64::from(u8::try_from(index).unwrap_or(u8::MAX));
            let _ =
                writeln!(svg, "<text x=\"{:.1}\" y=\"{at:.1}\" fill=\"{colour}\">{}</text>", LEFT + 10.0, line.name);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn ticks(&self, low: f64, high: f64) -> Vec<f64> {
        if self.logarithmic {
            let mut at: Vec<f64> = self.lines.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x)).collect();
            at.sort_by(f64::total_cmp);
            at.dedup();
            return at;
        }
        (0..=5).map(|step| low + (high - low) * f64::from(step) / 5.0).collect()
    }
}

/// The next round number that is not smaller.
fn nice(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(most.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= most).unwrap_or(most)
}

fn label(value: f64) -> String {
    let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_lies_inside_of_the_picture() {
        let line = Line { name: "a", points: vec![(100.0, 3.0), (1000.0, 17.0), (10_000.0, 250.0)] };
        let svg = Plot { title: "t", across: "n", logarithmic: true, lines: vec![line] }.svg();
        let circles: Vec<&str> = svg.split("<circle ").skip(1).collect();
        assert_eq!(circles.len(), 3);
        for circle in circles {
            let number = |name: &str| -> f64 {
                let rest = circle.split_once(&format!("{name}=\"")).unwrap().1;
                rest.split_once('"').unwrap().0.parse().unwrap()
            };
            assert!((LEFT..=WIDTH - RIGHT).contains(&number("cx")), "{circle}");
            assert!((TOP..=HEIGHT - BOTTOM).contains(&number("cy")), "{circle}");
        }
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        assert_eq!([0.0, 0.03, 3.0, 17.0, 250.0, 900.0].map(nice).map(label), ["1", "0.04", "4", "20", "400", "1000"]);
    }
}
