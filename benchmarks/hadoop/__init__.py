"""One task on a real Hadoop, as it is usually written for mrjob and as a BatchJob."""
