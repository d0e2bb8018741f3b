package ops

// registerUnused adds the metrics of what etcd has and Quoin has not: snapshot files beside the database file, the store of the v2 API, and
// the proxy, which etcd's server names as well. They stay at zero, so that what is built on their names goes on to work.
func registerUnused(f factory) {
	f.histogram("etcd_snap_fsync_duration_seconds", "No effect: there are no .snap files.", diskBuckets())
	f.histogram("etcd_debugging_snap_save_total_duration_seconds", "No effect: there are no .snap files.", diskBuckets())
	f.histogram("etcd_debugging_snap_save_marshalling_duration_seconds", "No effect: there are no .snap files.", diskBuckets())

	const v2 = "No effect: there is no separate store of the v2 API."
	f.counters("etcd_debugging_store_reads_total", v2, "action")
	f.counters("etcd_debugging_store_writes_total", v2, "action")
	f.counter("etcd_debugging_store_expires_total", v2)
	f.counter("etcd_debugging_store_watch_requests_total", v2)
	f.gauge("etcd_debugging_store_watchers", v2)

	const proxy = "No effect in a server."
	for _, name := range []string{"cache_hits_total", "cache_misses_total", "cache_keys_total", "watchers_coalescing_total"} {
		f.gauge("etcd_grpc_proxy_"+name, proxy)
	}
	f.counter("etcd_grpc_proxy_events_coalescing_total", proxy)
}
