//! The commented file that `netcluster config init` writes.

use super::keys::{self, Change, Key, Table};

/// Longest line of a comment.
const WIDTH: usize = 96;

/// Returns a file in which every key is explained, and none set.
pub fn text() -> String {
    let mut text = String::new();
    comment(
        &mut text,
        "Configuration of netcluster's broker. Every key is here, with its default or, where \
         that is found out, an example. `netcluster config check` says whether the file is \
         right; `netcluster reload` has a broker that runs take what changed, but for the keys \
         that say \"restart\".",
    );
    let keys = keys::all();
    for table in Table::ALL {
        match table {
            Table::Broker => {}
            Table::Link => {
                text.push('\n');
                comment(
                    &mut text,
                    "The link to other machines. That this table is there turns it on.",
                );
                text.push_str("# [link]\n");
            }
            Table::Channel => {
                text.push('\n');
                comment(&mut text, "Settings of single channels, a table for each.");
                text.push_str("# [channels.NAME]\n");
            }
            Table::Access => {
                text.push('\n');
                comment(
                    &mut text,
                    "Access rules, a table for each. Whom at least one rule is for may emit and \
                     listen to what these rules together allow, each on its channels, and to \
                     nothing else. Root and the broker's own user may do everything.",
                );
                text.push_str("# [access.NAME]\n");
            }
        }
        for key in keys.iter().filter(|key| key.table == table) {
            explain(&mut text, key);
        }
    }
    text
}

fn explain(text: &mut String, key: &Key) {
    text.push('\n');
    let default = match key.default_words.as_str() {
        "" => String::new(),
        words => format!(" Default: {words}."),
    };
    let change = match key.change {
        Change::Live => "",
        Change::Restart => " A change takes a restart.",
    };
    let help = key.help.trim_end_matches('.');
    comment(text, &format!("{help}.{default} Allowed: {}.{change}", key.kind.allowed()));
    let value = key.default.unwrap_or(key.example).replace('\'', "\"");
    text.push_str(&format!("# {} = {value}\n", key.name));
}

/// Writes a comment in lines.
fn comment(text: &mut String, words: &str) {
    let mut line = "##".to_owned();
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = "##".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
