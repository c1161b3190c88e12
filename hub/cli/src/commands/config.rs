//! `starling config`: contexts, as kubectl has them.

use std::path::Path;

use crate::arguments::{ConfigCommand, Global};
use crate::contexts::file::{Context, ContextFile};
use crate::contexts::target::context_path;
use crate::failure::{Exit, Failure};
use crate::render::table::{Cell, Column, Table, column};
use crate::terminal::Output;

const COLUMNS: &[Column] = &[column("CURRENT"), column("NAME"), column("SERVER"), column("TOKEN-FILE")];

/// What `view` shows in the place of certificates.
const OMITTED: &str = "DATA+OMITTED";

/// Runs one command on the file of contexts.
pub(super) fn run(global: &Global, command: ConfigCommand, output: &mut Output) -> Result<(), Failure> {
    let path = context_path(global)?;
    let mut file = ContextFile::load(&path)?.unwrap_or_default();
    match command {
        ConfigCommand::GetContexts { output: format, no_headers } => {
            get_contexts(&file, format.is_some(), !no_headers, output)
        }
        ConfigCommand::CurrentContext => match file.current_context.as_str() {
            "" => Err(Failure::new(Exit::NotFound, "there is no current context")
                .next("choose one: `starling config get-contexts`, then `starling config use-context NAME`")),
            name => output.line(name),
        },
        ConfigCommand::UseContext { name } => {
            file.get(&name)?;
            file.current_context.clone_from(&name);
            file.save(&path)?;
            output.line(format!("{name} is the current context"))
        }
        ConfigCommand::View { raw } => {
            for context in file.contexts.iter_mut().filter(|context| !raw && !context.ca_pem.is_empty()) {
                OMITTED.clone_into(&mut context.ca_pem);
            }
            let text = serde_saphyr::to_string(&file)
                .map_err(|error| Failure::new(Exit::Failed, format!("cannot print the contexts: {error}")))?;
            output.line(text.trim_end())
        }
        ConfigCommand::SetContext { name, current } => {
            set_context(&mut file, global, &name)?;
            if current || file.current_context.is_empty() {
                file.current_context.clone_from(&name);
            }
            file.save(&path)?;
            output.line(format!("context {name} is set in {}", path.display()))
        }
        ConfigCommand::Import { file: source, name } => {
            let current = import(&mut file, &source, name)?;
            file.save(&path)?;
            output.line(format!("{current} is the current context in {}", path.display()))
        }
        ConfigCommand::DeleteContext { name } => {
            file.get(&name)?;
            file.contexts.retain(|context| context.name != name);
            if file.current_context == name {
                file.current_context.clear();
            }
            file.save(&path)?;
            output.line(format!("context {name} is deleted from {}", path.display()))
        }
    }
}

fn get_contexts(file: &ContextFile, names: bool, header: bool, output: &mut Output) -> Result<(), Failure> {
    if names {
        return file.contexts.iter().try_for_each(|context| output.line(&context.name));
    }
    let row = |context: &Context| {
        let token_file = context.token_file.as_deref().map(|path| path.display().to_string());
        vec![
            Cell::plain(if context.name == file.current_context { "*" } else { " " }),
            Cell::plain(&context.name),
            Cell::plain(&context.server),
            Cell::plain(token_file.unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = file.contexts.iter().map(row).collect();
    Table::new(COLUMNS, false, header, output.terminal.width()).rows(output, &rows)
}

fn set_context(file: &mut ContextFile, global: &Global, name: &str) -> Result<(), Failure> {
    let mut context =
        file.find(name).cloned().unwrap_or_else(|| Context { name: name.to_owned(), ..Context::default() });
    if let Some(server) = &global.server {
        context.server.clone_from(server);
    }
    if let Some(path) = &global.ca {
        let pem = std::fs::read_to_string(path)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot read {}: {error}", path.display())))?;
        context.ca_pem = pem;
        context.ca_file = None;
    }
    if let Some(path) = &global.token_file {
        let absolute = std::path::absolute(path)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot find {}: {error}", path.display())))?;
        context.token_file = Some(absolute);
    }
    if context.server.is_empty() {
        return Err(Failure::usage(format!("the context {name:?} is new and names no server"))
            .next(format!("starling config set-context {name} --server HOST:PORT --ca FILE --token-file FILE")));
    }
    file.put(context);
    Ok(())
}

/// Takes over the contexts of another file and returns which is the current one now.
fn import(file: &mut ContextFile, source: &Path, name: Option<String>) -> Result<String, Failure> {
    let mut other = ContextFile::load(source)?.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("{} does not exist", source.display()))
            .next("a hub writes its own context to <state>/admin.yaml when it starts")
    })?;
    if let Some(name) = name {
        let [context] = other.contexts.as_mut_slice() else {
            return Err(Failure::usage(format!(
                "{} holds {} contexts, so --name cannot name them",
                source.display(),
                other.contexts.len()
            )));
        };
        context.name.clone_from(&name);
        other.current_context = name;
    }
    let first = other.contexts.first().map(|context| context.name.clone());
    let current = match other.current_context.as_str() {
        "" => first,
        name => Some(name.to_owned()),
    };
    let Some(current) = current else {
        return Err(Failure::usage(format!("{} holds no contexts", source.display())));
    };
    other.contexts.into_iter().for_each(|context| file.put(context));
    file.get(&current)?;
    file.current_context.clone_from(&current);
    Ok(current)
}
