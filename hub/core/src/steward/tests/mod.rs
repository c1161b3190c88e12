mod budgeted;
mod deletion;
mod identity;
mod inputs;
mod recovery;
