mod judged;
mod paced;
