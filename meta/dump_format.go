package meta

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// A dump is a line, dumpMagic, and then, compressed, records: a letter each, and
// what belongs to it. The header comes first; the rows of a table follow its
// description; the end has the digest of all that is before it.
const (
	dumpMagic = "berth metadata 1\n"

	recordHeader = 'H' // JSON
	recordTable  = 'T' // JSON
	recordRow    = 'R' // a value for each column of the table
	recordEnd    = 'E' // SHA-256

	valueNull  = 'n'
	valueInt   = 'i' // varint
	valueText  = 's' // its length, and so much
	valueBytes = 'b' // likewise
	valueTrue  = 't'
	valueFalse = 'f'

	maxDumpValue = 64 << 20 // bytes of a value or a description
)

// ErrDump is wrapped by the error of a dump that is not whole, or none at all.
var ErrDump = errors.New("the backup cannot be used")

// A DumpHeader says what a dump holds.
type DumpHeader struct {
	Created time.Time `json:"created"`
	Tables  int64     `json:"tables"` // version of the tables
}

// A DumpReport says what was written. Content is a digest of the rows, but for
// those that change though nothing has happened.
type DumpReport struct {
	DumpHeader
	Rows    int64
	Content string
}

// ignored are tables of no weight for DumpReport.Content: the leases of jobs.
var ignored = map[string]bool{"jobs": true}

// A dumpTable describes the rows that follow it.
type dumpTable struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
}

// A dumpWriter writes a dump.
type dumpWriter struct {
	gz      *gzip.Writer
	out     *bufio.Writer // to gz, sum
	sum     hash.Hash
	content hash.Hash
	counts  bool // the rows of this table are of weight
	record  []byte
}

func newDumpWriter(w io.Writer, h DumpHeader) (*dumpWriter, error) {
	if _, err := io.WriteString(w, dumpMagic); err != nil {
		return nil, err
	}
	gz, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	d := &dumpWriter{gz: gz, sum: sha256.New(), content: sha256.New()}
	d.out = bufio.NewWriterSize(io.MultiWriter(gz, d.sum), 64<<10)
	return d, d.describe(recordHeader, h)
}

func (d *dumpWriter) describe(kind byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	d.record = append(d.record[:0], kind)
	d.record = appendBytes(d.record, data)
	_, err = d.out.Write(d.record)
	return err
}

func (d *dumpWriter) table(t dumpTable) error {
	d.counts = !ignored[t.Name]
	if d.counts {
		d.content.Write([]byte(t.Name + "\n"))
	}
	return d.describe(recordTable, t)
}

func (d *dumpWriter) row(values []any) error {
	d.record = append(d.record[:0], recordRow)
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			d.record = append(d.record, valueNull)
		case int64:
			d.record = binary.AppendVarint(append(d.record, valueInt), v)
		case string:
			d.record = appendBytes(append(d.record, valueText), v)
		case []byte:
			d.record = appendBytes(append(d.record, valueBytes), v)
		case bool:
			kind := byte(valueFalse)
			if v {
				kind = valueTrue
			}
			d.record = append(d.record, kind)
		default:
			return fmt.Errorf("a value of type %T cannot be written", v)
		}
	}
	if d.counts {
		d.content.Write(d.record)
	}
	_, err := d.out.Write(d.record)
	return err
}

func appendBytes[T string | []byte](record []byte, data T) []byte {
	return append(binary.AppendUvarint(record, uint64(len(data))), data...)
}

// end completes the dump, and returns the digest of its content.
func (d *dumpWriter) end() (content string, err error) {
	if err := d.out.Flush(); err != nil {
		return "", err
	}
	if _, err := d.gz.Write(append([]byte{recordEnd}, d.sum.Sum(nil)...)); err != nil {
		return "", err
	}
	return hex.EncodeToString(d.content.Sum(nil)), d.gz.Close()
}

// A dumpReader reads a dump.
type dumpReader struct {
	header  DumpHeader
	in      *bufio.Reader
	sum     hash.Hash
	columns int // of the table whose rows follow
	one     [1]byte
}

// newDumpReader begins to read. Errors: ErrDump.
func newDumpReader(r io.Reader) (*dumpReader, error) {
	magic := make([]byte, len(dumpMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != dumpMagic {
		return nil, fmt.Errorf("%w: it is no backup of this program, or of a newer one", ErrDump)
	}
	gz, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return nil, notWhole(err)
	}
	d := &dumpReader{in: bufio.NewReaderSize(gz, 64<<10), sum: sha256.New()}
	kind, err := d.kind()
	if err == nil && kind != recordHeader {
		err = errors.New("it has no header")
	}
	if err == nil {
		err = d.described(&d.header)
	}
	if err != nil {
		return nil, notWhole(err)
	}
	return d, nil
}

// ReadDumpHeader reads what a dump says of itself. Errors: ErrDump.
func ReadDumpHeader(r io.Reader) (DumpHeader, error) {
	d, err := newDumpReader(r)
	if err != nil {
		return DumpHeader{}, err
	}
	return d.header, nil
}

func notWhole(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: it is not whole: %w", ErrDump, err)
}

// next returns the next table or row. The end is io.EOF, and all before it is
// whole then. Errors: ErrDump.
func (d *dumpReader) next() (t *dumpTable, row []any, err error) {
	kind, err := d.in.ReadByte()
	if err != nil {
		return nil, nil, notWhole(err)
	}
	if kind == recordEnd { // which is not a part of what it tells the digest of
		return nil, nil, d.checkEnd(d.sum.Sum(nil))
	}
	d.add(kind)
	switch kind {
	case recordTable:
		t = new(dumpTable)
		if err = d.described(t); err == nil {
			d.columns = len(t.Columns)
		}
	case recordRow:
		row, err = d.values()
	default:
		err = fmt.Errorf("it has a record of kind %q", kind)
	}
	if err != nil {
		return nil, nil, notWhole(err)
	}
	return t, row, nil
}

// checkEnd compares the digest, and returns io.EOF when it is right.
func (d *dumpReader) checkEnd(sum []byte) error {
	told := make([]byte, sha256.Size)
	if _, err := io.ReadFull(d.in, told); err != nil {
		return notWhole(err)
	}
	if !bytes.Equal(sum, told) {
		return notWhole(errors.New("its digest is another one"))
	}
	if _, err := d.in.ReadByte(); !errors.Is(err, io.EOF) {
		return notWhole(errors.New("something follows its end"))
	}
	return io.EOF
}

// kind reads the letter of a record or value.
func (d *dumpReader) kind() (byte, error) {
	b, err := d.in.ReadByte()
	if err == nil {
		d.add(b)
	}
	return b, err
}

func (d *dumpReader) add(b byte) {
	d.one[0] = b
	d.sum.Write(d.one[:])
}

// ReadByte implements io.ByteReader, for numbers.
func (d *dumpReader) ReadByte() (byte, error) { return d.kind() }

func (d *dumpReader) described(v any) error {
	data, err := d.bytes()
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func (d *dumpReader) bytes() ([]byte, error) {
	n, err := binary.ReadUvarint(d)
	if err != nil {
		return nil, err
	}
	if n > maxDumpValue {
		return nil, fmt.Errorf("a value has %d bytes", n)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(d.in, data); err != nil {
		return nil, err
	}
	d.sum.Write(data)
	return data, nil
}

func (d *dumpReader) values() ([]any, error) {
	row := make([]any, d.columns)
	for i := range row {
		kind, err := d.kind()
		if err != nil {
			return nil, err
		}
		switch kind {
		case valueNull:
		case valueInt:
			row[i], err = binary.ReadVarint(d)
		case valueText:
			var b []byte
			b, err = d.bytes()
			row[i] = string(b)
		case valueBytes:
			row[i], err = d.bytes()
		case valueTrue, valueFalse:
			row[i] = kind == valueTrue
		default:
			err = fmt.Errorf("it has a value of kind %q", kind)
		}
		if err != nil {
			return nil, err
		}
	}
	return row, nil
}
