// Package metrics holds what tests know of metrics: a reader of a page of /metrics, the table of the metrics that etcd has, and what
// monitoring asks for, read out of dashboards and rules.
package metrics
