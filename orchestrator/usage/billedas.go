package usage

// BilledAs returns, for each usage of a subscription, the name of the product under which the usage is billed. The name is empty if the usage is
// not part of the rows. For example, its product is not in the plan, or the usage waits to be billed. The rows must be all rows of the usage's
// hours.
func BilledAs(measured []Measured, rows []BilledRow) []string {
	type product struct {
		window

		id string
	}
	last := map[product]*Row{} // the last row of a product says which meters it bills now
	for i := range rows {
		row := &rows[i].Row
		k := product{window{"", row.Plan, row.From.UnixMicro(), row.To.UnixMicro()}, row.Product}
		if known := last[k]; known == nil || known.Revision < row.Revision {
			last[k] = row
		}
	}
	billed := map[metering]*Row{}
	for k, row := range last {
		for meter := range row.Meters {
			billed[metering{k.window, meter}] = row
		}
	}
	names := make([]string, len(measured))
	for i, m := range measured {
		row := billed[metering{window{"", m.Plan, m.From.UnixMicro(), m.To.UnixMicro()}, m.Meter}]
		if row != nil && (row.Units[m.Meter] == "" || row.Units[m.Meter] == m.Unit) {
			names[i] = row.Name
		}
	}
	return names
}
