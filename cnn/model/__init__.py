"""Operations on a whole model: check it, describe it, time it, save it."""
