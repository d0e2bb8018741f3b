package ops

import (
	"github.com/prometheus/client_golang/prometheus"
)

// PeerMetrics are the measurements of a member's sessions with others. Labels name members by id.
type PeerMetrics struct {
	Known, Active                *prometheus.GaugeVec   // Local, Remote
	Disconnected                 *prometheus.CounterVec // Local, Remote
	Sent, SendFailed             *prometheus.CounterVec // To
	Received, ReceiveFailed      *prometheus.CounterVec // From
	RoundTrip                    *prometheus.HistogramVec
	SnapshotSend, SnapshotGotten TransferMetrics
}

// TransferMetrics are those of snapshots in one direction.
type TransferMetrics struct {
	Success, Failures *prometheus.CounterVec
	InFlight          *prometheus.GaugeVec
	Duration          *prometheus.HistogramVec
}

func newPeerMetrics(f factory) PeerMetrics {
	return PeerMetrics{
		Known:         f.gauges("etcd_network_known_peers", "Members known, this one included.", "Local", "Remote"),
		Active:        f.gauges("etcd_network_active_peers", "Members that streams stand with.", "Local", "Remote"),
		Disconnected:  f.counters("etcd_network_disconnected_peers_total", "Times that the streams with a member broke.", "Local", "Remote"),
		Sent:          f.counters("etcd_network_peer_sent_bytes_total", "Bytes of messages to a member.", "To"),
		Received:      f.counters("etcd_network_peer_received_bytes_total", "Bytes of messages from a member.", "From"),
		SendFailed:    f.counters("etcd_network_peer_sent_failures_total", "Messages to a member that were dropped or failed.", "To"),
		ReceiveFailed: f.counters("etcd_network_peer_received_failures_total", "Connections that broke while messages were read.", "From"),
		RoundTrip:     f.histograms("etcd_network_peer_round_trip_time_seconds", "Time of a probe.", roundTripBuckets(), "To"),
		SnapshotSend:  newTransferMetrics(f, "send", "To"), SnapshotGotten: newTransferMetrics(f, "receive", "From"),
	}
}

func newTransferMetrics(f factory, direction, label string) TransferMetrics {
	name := "etcd_network_snapshot_" + direction
	return TransferMetrics{
		Success:  f.counters(name+"_success", "Snapshots transferred.", label),
		Failures: f.counters(name+"_failures", "Snapshots that failed.", label),
		InFlight: f.gauges(name+"_inflights_total", "Snapshots under way.", label),
		Duration: f.histograms(name+"_total_duration_seconds", "Time of a snapshot's transfer.", transferBuckets(), label),
	}
}
