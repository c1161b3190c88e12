mod budgeted;
mod deletion;
mod emptying;
mod identity;
mod inputs;
mod recovery;
mod registering;
