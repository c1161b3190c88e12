//! `starling config`: contexts, as kubectl has them.

use std::path::Path;

use serde::Serialize;

use crate::arguments::look::OneFormat;
use crate::arguments::{ConfigCommand, Global};
use crate::contexts::file::{Context, ContextFile};
use crate::contexts::target::{self, context_path};
use crate::failure::{Exit, Failure};
use crate::kubernetes::ServiceAccount;
use crate::render::document::{self, Notation};
use crate::render::table::{Cell, Column, Table, column};
use crate::terminal::Output;

const COLUMNS: &[Column] = &[column("CURRENT"), column("NAME"), column("SERVER"), column("CREDENTIALS")];

/// How each certificate begins.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

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

/// Which hub is asked and how it was found, as documents show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetView {
    server: PartView,
    authorities: PartView,
    credentials: PartView,
    /// The API server through which resources are edited; null where none is needed to find the hub.
    cluster: Option<PartView>,
}

/// A part of it and where it comes from.
#[derive(Debug, Serialize)]
struct PartView {
    value: String,
    from: String,
}

/// Shows which hub is asked, how it was found and in whose name; asks the hub nothing.
pub(super) async fn show(global: &Global, format: OneFormat, output: &mut Output) -> Result<(), Failure> {
    let target = target::resolve(global).await?;
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let certificates = target.ca_pem.windows(CERTIFICATE.len()).filter(|window| *window == CERTIFICATE).count();
    let part = |value: String, from: &str| PartView { value, from: from.to_owned() };
    let credentials = match target.credentials.bearer().await {
        Ok(_) => "a token".to_owned(),
        Err(failure) => format!("none: {failure}"),
    };
    let view = TargetView {
        server: part(format!("{host}:{}", target.port), &target.origins.server),
        authorities: part(format!("{certificates} certificate(s)"), &target.origins.authorities),
        credentials: part(credentials, &target.origins.credentials),
        cluster: target
            .kubernetes
            .as_ref()
            .map(|kubernetes| part(kubernetes.origin().server.clone(), &kubernetes.origin().to_string())),
    };
    match format {
        OneFormat::Text => {
            let mut line = |label: &str, part: &PartView| {
                output.line(format!("{:<13}{}", format!("{label}:"), part.value))?;
                output.line(format!("             from {}", part.from))
            };
            line("Hub", &view.server)?;
            line("Authorities", &view.authorities)?;
            line("Credentials", &view.credentials)?;
            view.cluster.iter().try_for_each(|cluster| line("API server", cluster))
        }
        OneFormat::Json => document::print(output, Notation::Json, "Target", &view),
        OneFormat::Yaml => document::print(output, Notation::Yaml, "Target", &view),
    }
}

fn get_contexts(file: &ContextFile, names: bool, header: bool, output: &mut Output) -> Result<(), Failure> {
    if names {
        return file.contexts.iter().try_for_each(|context| output.line(&context.name));
    }
    let row = |context: &Context| {
        let server = match (context.server.as_str(), context.names_kubernetes()) {
            ("", true) => "(published in its cluster)",
            (server, _) => server,
        };
        vec![
            Cell::plain(if context.name == file.current_context { "*" } else { " " }),
            Cell::plain(&context.name),
            Cell::plain(server),
            Cell::plain(credentials(context)),
        ]
    };
    let rows: Vec<_> = file.contexts.iter().map(row).collect();
    Table::new(COLUMNS, false, header, output.terminal.width()).rows(output, &rows)
}

/// Returns whose token a context shows, for people.
fn credentials(context: &Context) -> String {
    if let Some(path) = &context.token_file {
        return path.display().to_string();
    }
    if !context.names_kubernetes() {
        return String::new();
    }
    let file = context.kubeconfig.as_deref().map_or("kubeconfig".into(), |path| path.display().to_string());
    let named = context.kube_context.as_deref().map(|name| format!(" context {name}")).unwrap_or_default();
    let account =
        context.service_account.as_deref().map(|name| format!(" as ServiceAccount {name}")).unwrap_or_default();
    format!("{file}{named}{account}")
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
    if let Some(path) = &global.kubeconfig {
        let absolute = std::path::absolute(path)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot find {}: {error}", path.display())))?;
        context.kubeconfig = Some(absolute);
    }
    let given = [
        (&mut context.kube_context, &global.kube_context),
        (&mut context.hub_namespace, &global.hub_namespace),
        (&mut context.service_account, &global.service_account),
    ];
    for (field, value) in given {
        if value.is_some() {
            field.clone_from(value);
        }
    }
    if let Some(account) = &context.service_account {
        ServiceAccount::parse(account)?;
    }
    if context.server.is_empty() && !context.names_kubernetes() {
        return Err(Failure::usage(format!("the context {name:?} is new and names no server and no kubeconfig")).next(
            format!(
                "starling config set-context {name} --kube-context NAME, or --server HOST:PORT --ca FILE --token-file FILE"
            ),
        ));
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
