"""Can a layer be trusted? Its phases against another layer, against its own samples, against what was measured."""
