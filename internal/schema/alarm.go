package schema

// AlarmKey returns the key of a raised alarm in the Alarm bucket, the protobuf
// message etcdserverpb.AlarmMember; the value is empty. Kinds of alarm are
// 1 (out of space) and 2 (corruption).
func AlarmKey(memberID uint64, alarm int32) []byte {
	b := appendIntField(nil, 1, int64(memberID))
	return appendIntField(b, 2, int64(alarm))
}

// ParseAlarmKey reverses AlarmKey, by the rules of KeyValue.Unmarshal.
func ParseAlarmKey(key []byte) (memberID uint64, alarm int32, err error) {
	err = decodeFields("alarm key", key, func(f field) {
		switch {
		case f.isVarint(1):
			memberID = f.varint
		case f.isVarint(2):
			alarm = int32(f.varint)
		}
	})
	return memberID, alarm, err
}
