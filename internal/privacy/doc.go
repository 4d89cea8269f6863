// Package privacy keeps personal data readable only while a customer's key
// exists. Each customer has a data key; what describes the person is sealed
// under it. The data key itself is stored wrapped under a key-encryption key
// that never leaves the keyring, so deleting the wrapped key makes every copy
// of the sealed data unreadable, those in backups too.
//
// It knows nothing of what is sealed, of storage or of transport.
package privacy
