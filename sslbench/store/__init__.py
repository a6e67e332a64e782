"""Files that machines share through an object store, named by a URL."""
